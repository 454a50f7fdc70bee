"""HAL drivers for this machine's processors: ``local-sync`` and ``local-task``.

May import ``thalweg.api``, ``thalweg.hal``, ``thalweg.module`` and NumPy; never the compiler.
"""
