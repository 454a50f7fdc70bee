"""A HAL driver as a third party writes one: the package to copy; ``README.md`` says what to change.

Imports ``thalweg.api``, ``thalweg.hal``, and its own ``vendor``, which stands for a vendor's library.
"""
