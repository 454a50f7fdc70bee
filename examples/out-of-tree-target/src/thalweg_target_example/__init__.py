"""A target backend as a third party writes one: the package to start from; ``README.md`` says what to change.

Imports ``thalweg.api``, ``thalweg.codegen``, ``thalweg.ir``, ``thalweg.extents`` and ``thalweg.semantics`` to
compile; ``plugin``, ``executable`` and ``loader``, which running a module needs, import no compiler.
"""
