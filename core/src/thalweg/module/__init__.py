"""The module file and the host program in it. Imports only ``errors``, ``dtypes`` and NumPy: no compiler, no
HAL.
"""
