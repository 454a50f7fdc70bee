"""The target backend ``llvm-cpu``: kernels as LLVM IR, compiled ahead of time and linked into one ELF image.

``emitters`` write LLVM IR text, ``vector_math`` the functions it calls, ``machine`` makes objects of it,
``linker`` one image of the objects and of the ``builtins`` that LLVM's own code calls.
"""
