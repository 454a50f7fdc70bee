"""The meaning of ``linalg.generic``: an iteration space, operands mapped to it, a scalar body.

``GenericForm`` is the op as plain data, so that the compiler (from IR) and the vmvx loader (from bytecode)
run the same code. Operands become views of the iteration space; every step of the body works on whole
arrays, over pieces of the space that fit a cache; recognised combiners reduce by NumPy, any other body is
folded index by index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from thalweg.dtypes import numpy_dtype
from thalweg.extents import Extent, static
from thalweg.semantics.scalar import COMBINERS, SCALARS, combine

PIECE_ELEMENTS = 1 << 16
"""About how many points of the iteration space are computed at a time."""

BROADCAST = -1
"""In an operand's map: this dimension has extent 1 and is read at index 0."""


@dataclass(frozen=True)
class ScalarStep:
    """One operation of the body on value numbers ``operands``; its result is the next value number.

    ``dtype`` is the result's element type of casts, ``constant``, ``index`` and ``extent``; ``predicate`` of
    comparisons; ``value`` of ``constant``; ``dimension`` of ``index``; ``extent`` of ``extent``, which gives
    the extent's value (i64).
    """

    name: str
    operands: tuple[int, ...] = ()
    dtype: str = ""
    predicate: int = 0
    value: float | int = 0
    dimension: int = 0
    extent: Extent = 0


@dataclass(frozen=True)
class GenericForm:
    """A ``linalg.generic`` with projected permutations as maps.

    Values of the body are numbered: inputs, outputs (the accumulators), then one per step. ``input_maps`` and
    ``output_maps`` have one iteration dimension (or ``BROADCAST``) per operand dimension. ``reductions`` are
    the reduction dimensions. ``yields`` has one value number per output. Extents may be expressions; the form
    is evaluated once they are numbers.
    """

    extents: tuple[Extent, ...]
    reductions: tuple[int, ...]
    input_maps: tuple[tuple[int, ...], ...]
    output_maps: tuple[tuple[int, ...], ...]
    output_dtypes: tuple[str, ...]
    steps: tuple[ScalarStep, ...]
    yields: tuple[int, ...]

    @property
    def first_step(self) -> int:
        """The value number of the first step's result."""
        return len(self.input_maps) + len(self.output_maps)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The extents, as numbers.

        :raises UnknownOrder: one is an expression.
        """
        return static(self.extents)

    def output_shape(self, output: int) -> tuple[Extent, ...]:
        """Return the shape of an output."""
        return tuple(1 if d == BROADCAST else self.extents[d] for d in self.output_maps[output])

    @cached_property
    def reads_outputs(self) -> bool:
        """Whether the body reads what the outputs held before."""
        outputs = range(len(self.input_maps), self.first_step)
        used = {value for step in self.steps for value in step.operands} | set(self.yields)
        return bool(self.reductions) or any(value in used for value in outputs)

    @cached_property
    def combiners(self) -> tuple[tuple[str, int], ...] | None:
        """For each output its combiner and the value it accumulates; ``None`` for other bodies."""
        uses: dict[int, int] = {}
        for value in (*(v for step in self.steps for v in step.operands), *self.yields):
            uses[value] = uses.get(value, 0) + 1
        found = []
        for output, value in enumerate(self.yields):
            accumulator = len(self.input_maps) + output
            step = self.steps[value - self.first_step] if value >= self.first_step else None
            if step is None or step.name not in COMBINERS or step.operands.count(accumulator) != 1:
                return None
            if uses[accumulator] != 1 or uses[value] != 1:
                return None
            found.append((step.name, step.operands[1 - step.operands.index(accumulator)]))
        return tuple(found)


def align(array: np.ndarray, dimensions: Sequence[int], rank: int) -> np.ndarray:
    """View ``array`` with one dimension per iteration dimension, of extent 1 where it does not vary."""
    array = array[(..., *(0 if d == BROADCAST else slice(None) for d in dimensions))]
    kept = [d for d in dimensions if d != BROADCAST]
    array = array.transpose(np.argsort(kept, kind="stable"))
    return array[(..., *(slice(None) if d in kept else np.newaxis for d in range(rank)))]


def evaluate_generic(
    form: GenericForm, inputs: Sequence[np.ndarray], initial: Sequence[np.ndarray | None]
) -> list[np.ndarray]:
    """Evaluate ``form``.

    :param initial: what the outputs held before; ``None`` where the body does not read it.
    :returns: new arrays, one per output.
    """
    rank = len(form.extents)
    shapes = [static(form.output_shape(i)) for i in range(len(form.output_maps))]
    results = [np.empty(shape, numpy_dtype(name)) for shape, name in zip(shapes, form.output_dtypes)]
    for result, before in zip(results, initial):
        if before is not None and form.reads_outputs:
            result[...] = before
    if 0 in form.sizes:
        return results
    sources = [align(array, map_, rank) for array, map_ in zip(inputs, form.input_maps)]
    # A constant result index selects index 0, a view: writes reach the result.
    targets = [align(result, map_, rank) for result, map_ in zip(results, form.output_maps)]
    with np.errstate(all="ignore"):  # the IR's arithmetic is silent: infinities and NaN are values
        for piece in _pieces(form):
            _evaluate_piece(form, piece, sources, targets)
    return results


def _pieces(form: GenericForm) -> Iterator[tuple[slice, ...]]:
    """Split the parallel dimensions, outermost first, into pieces of about ``PIECE_ELEMENTS`` points."""
    sizes = list(form.sizes)
    for d, extent in enumerate(form.sizes):
        if d in form.reductions:
            continue
        rest = int(np.prod(sizes[d + 1 :], dtype=np.int64)) * int(np.prod(sizes[:d], dtype=np.int64))
        sizes[d] = min(extent, max(1, PIECE_ELEMENTS // rest))
        if sizes[d] > 1:
            break
    ranges = [range(0, extent, size) for extent, size in zip(form.sizes, sizes)]
    for starts in product(*ranges):
        yield tuple(slice(s, min(s + n, e)) for s, n, e in zip(starts, sizes, form.sizes))


def _cut(array: np.ndarray, piece: Sequence[slice | int]) -> np.ndarray:
    """Return the part of an aligned view that ``piece`` covers; dimensions of extent 1 stay whole."""
    return array[(..., *(slice(None) if extent == 1 else part for extent, part in zip(array.shape, piece)))]


def _evaluate_piece(form: GenericForm, piece: tuple[slice, ...], sources, targets) -> None:
    inputs = [_cut(array, piece) for array in sources]
    outputs = [_cut(array, piece) for array in targets]
    if not form.reductions:
        for target, value in zip(outputs, _body(form, inputs, outputs, piece, form.yields)):
            target[...] = value
    elif form.combiners is not None:
        shape = tuple(part.stop - part.start for part in piece)
        elements = _body(form, inputs, outputs, piece, [value for _, value in form.combiners])
        for target, (name, _), element in zip(outputs, form.combiners, elements):
            reduced = COMBINERS[name](np.broadcast_to(element, shape), form.reductions)
            target[...] = combine(name, target, reduced)
    else:
        _fold_by_index(form, piece, inputs, outputs)


def _fold_by_index(form: GenericForm, piece: tuple[slice, ...], inputs, outputs) -> None:
    """Fold a body that is no plain combination, in row-major order of the reduction dimensions."""
    for index in product(*(range(form.sizes[d]) for d in form.reductions)):
        here = list(piece)
        for d, i in zip(form.reductions, index):
            here[d] = slice(i, i + 1)
        at_index = [slice(None)] * len(piece)
        for d, i in zip(form.reductions, index):
            at_index[d] = slice(i, i + 1)
        values = _body(form, [_cut(x, at_index) for x in inputs], outputs, tuple(here), form.yields)
        values = [np.array(value) for value in values]  # all are computed before one is overwritten
        for target, value in zip(outputs, values):
            target[...] = value


def _body(
    form: GenericForm, inputs, outputs, piece: tuple[slice, ...], wanted: Sequence[int]
) -> list[np.ndarray]:
    """Run the steps that ``wanted`` needs over one piece; values are dropped after their last use."""
    values: dict[int, np.ndarray] = dict(enumerate([*inputs, *outputs]))
    needed, last_use = _liveness(form, wanted)
    for number, step in enumerate(form.steps, form.first_step):
        if number not in needed:
            continue
        values[number] = _apply(step, [values[operand] for operand in step.operands], piece)
        for operand in step.operands:
            if last_use[operand] == number:
                values.pop(operand, None)
    return [values[value] for value in wanted]


def _liveness(form: GenericForm, wanted: Sequence[int]) -> tuple[set[int], dict[int, int]]:
    needed, last_use = set(wanted), {value: len(form.steps) + form.first_step for value in wanted}
    for number in range(form.first_step + len(form.steps) - 1, form.first_step - 1, -1):
        if number in needed:
            for operand in form.steps[number - form.first_step].operands:
                needed.add(operand)
                last_use.setdefault(operand, number)
    return needed, last_use


def _apply(step: ScalarStep, operands: list[np.ndarray], piece: tuple[slice, ...]) -> np.ndarray:
    if step.name == "constant":
        return np.full((1,) * len(piece), step.value, numpy_dtype(step.dtype))
    if step.name == "extent":
        return np.full((1,) * len(piece), static((step.extent,))[0], numpy_dtype(step.dtype))
    if step.name == "index":
        part = piece[step.dimension]
        shape = [1] * len(piece)
        shape[step.dimension] = part.stop - part.start
        return np.arange(part.start, part.stop, dtype=numpy_dtype(step.dtype)).reshape(shape)
    scalar = SCALARS[step.name]
    if step.name in ("cmpf", "cmpi"):
        return scalar.function(*operands, predicate=step.predicate)
    if step.dtype:
        return scalar.function(*operands, dtype=numpy_dtype(step.dtype))
    return scalar.function(*operands)
