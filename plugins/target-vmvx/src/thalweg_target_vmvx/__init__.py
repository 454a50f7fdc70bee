"""The portable target: dispatches become a compact bytecode that runs over NumPy microkernels.

``translation`` and ``backend`` belong to the compiler and import ``thalweg.ir``; everything else runs where
there is no compiler. The format is described in the package's README.
"""
