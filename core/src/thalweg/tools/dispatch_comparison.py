"""``thalweg compare``: the dispatches of a module beside the same kernels compiled for another target.

The other target compiles each kernel's IR, which the module holds, as a function of its own. Both get the
same operands; the other target's results feed the dispatches that follow, so that a difference shows where it
is made, not where it is felt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.codegen.packing import Packing
from thalweg.errors import Aborted, ThalwegError
from thalweg.module.debug_info import KernelInfo
from thalweg.module.module import Module
from thalweg.plugin.registry import Registry
from thalweg.python_api import import_compiler
from thalweg.runtime.addresses import bytes_of
from thalweg.runtime.program import Program
from thalweg.runtime.stepping import SteppedFunction
from thalweg.tools.comparison import Tolerance, mismatch
from thalweg.tools.dispatch_list import Dispatch, list_dispatches

RELATIVE_TOLERANCES: Mapping[str, float] = {"f16": 4e-3, "bf16": 3e-2, "f32": 1e-5, "f64": 1e-9}
"""Element type → the largest difference that passes, over the largest magnitude of the expected tensor."""


@dataclass(frozen=True)
class ComparisonTolerance:
    """A float passes if it differs by at most ``absolute`` plus ``relative`` times the largest magnitude in
    the expected tensor; ``relative=None``: by element type. Integers are compared exactly.
    """

    absolute: float = 1e-6
    relative: float | None = None

    def mismatch(self, actual: np.ndarray, expected: np.ndarray, dtype: str) -> str | None:
        """Return where ``actual`` is not as ``expected``, or ``None`` if it is."""
        relative = RELATIVE_TOLERANCES.get(dtype, 0.0) if self.relative is None else self.relative
        thresholds: dict[str, float] = {}
        if dtype in RELATIVE_TOLERANCES:
            finite = np.abs(expected.astype(np.float64))
            largest = float(np.max(finite, initial=0.0, where=np.isfinite(finite)))
            thresholds[dtype] = self.absolute + relative * largest
        found = mismatch(actual, expected, Tolerance(thresholds, rtol=0.0))
        if found is None or dtype not in thresholds:
            return found
        return f"{found}; tolerance {thresholds[dtype]:.3g}, {_distance(actual, expected)}"


def _distance(actual: np.ndarray, expected: np.ndarray) -> str:
    with np.errstate(invalid="ignore"):  # inf - inf
        difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    finite = difference[np.isfinite(difference)]
    return f"largest difference {finite.max():.3g}" if finite.size else "no finite difference"


@dataclass(frozen=True)
class Difference:
    """A dispatch that differs: ``reasons``, one for each result or failure."""

    dispatch: Dispatch
    reasons: tuple[str, ...]


def compile_kernels(
    dispatches: Sequence[Dispatch], dimensions: Mapping[str, int], target: str, registry: Registry
) -> Module:
    """Compile the dispatches' kernels for another target, one function each.

    :raises CompileError: the target cannot compile one of them.
    """
    compiler = import_compiler()
    from xdsl.dialects.builtin import ModuleOp  # import_compiler() has said what is missing, if it is

    from thalweg.ir.program import Program as SourceProgram
    from thalweg.ir.specialization import specialize

    kernels = {dispatch.kernel: dispatch.info for dispatch in dispatches if dispatch.info is not None}
    functions = []
    for kernel in kernels.values():
        source = SourceProgram.parse(kernel.text, name=f"kernel {kernel.name}")
        for function in (specialize(source, dimensions) if dimensions else source).functions():
            function.detach()
            function.properties.pop("sym_visibility", None)
            functions.append(function)
    program = SourceProgram(ModuleOp(functions))
    result = compiler.compile_model(program, target_backends=[target], registry=registry, debug_info=False)
    return result.module


def compare_dispatches(
    stepped: SteppedFunction, reference: Program, tolerance: ComparisonTolerance
) -> Iterator[Difference | None]:
    """Run each dispatch on both sides; yields, in order, how it differs, or ``None`` where it does not.

    :raises Aborted: a dispatch fails on both sides, so that there is nothing to compare.
    """
    dispatches = {dispatch.command: dispatch for dispatch in list_dispatches(stepped)}
    for place in range(len(stepped.commands)):
        dispatch = dispatches.get(place)
        if dispatch is None:
            stepped.prepare(place)()
            continue
        yield _compare(stepped, dispatch, reference, tolerance)


def _compare(
    stepped: SteppedFunction, dispatch: Dispatch, reference: Program, tolerance: ComparisonTolerance
) -> Difference | None:
    assert dispatch.info is not None  # require_debug_info() has seen to it
    operands = _operands(stepped, dispatch, dispatch.info)
    expected, reference_failure = _attempt(lambda: reference[dispatch.kernel](*operands))
    _, failure = _attempt(stepped.prepare(dispatch.command))
    if failure and reference_failure:
        raise Aborted(
            f"dispatch {dispatch.number}, {dispatch.kernel} [{dispatch.node}], fails on both sides with these"
            f" inputs: {failure}; the reference: {reference_failure}; give inputs that it takes (--input)"
        )
    reasons = []
    if failure:
        reasons.append(f"it failed: {failure}")
    elif reference_failure:
        reasons.append(f"the reference failed: {reference_failure}")
    else:
        values = expected if isinstance(expected, tuple) else (expected,)
        for number, (binding, value) in enumerate(zip(dispatch.outputs, values, strict=True)):
            wanted = np.asarray(value)
            found = tolerance.mismatch(binding.array(stepped), wanted, str(binding.dtype))
            if found is not None:
                reasons.append(f"result {number}: {found}")
            stepped.write(binding.span, bytes_of(np.ascontiguousarray(wanted)))
    return Difference(dispatch, tuple(reasons)) if reasons else None


def _operands(stepped: SteppedFunction, dispatch: Dispatch, kernel: KernelInfo) -> list[np.ndarray]:
    """Return the kernel's operands as its IR has them: packed constants are unpacked."""
    from thalweg.dtypes import numpy_dtype
    from thalweg.extents import evaluate

    arrays = []
    for index, (binding, operand) in enumerate(zip(dispatch.bindings, kernel.operands)):
        data = binding.array(stepped)
        if index in kernel.packings:
            shape = tuple(evaluate(extent, stepped.fixed.dimensions) for extent in operand.shape)
            packing = Packing(*kernel.packings[index])
            data = packing.undo(data.view(numpy_dtype(operand.dtype)), shape)
        arrays.append(data)
    return arrays


def _attempt(run: Any) -> tuple[Any, str]:
    """Return (result, how it failed)."""
    try:
        return run(), ""
    except ThalwegError as error:
        return None, str(error)
