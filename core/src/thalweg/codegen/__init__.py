"""What target backends share: the target contract and lowering code that several backends use.

May import ``thalweg.ir``, ``thalweg.module`` and ``thalweg.plugin``. Never imported by ``hal`` or
``runtime``.
"""
