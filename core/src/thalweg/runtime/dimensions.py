"""Named dimensions at a call: read from the inputs' shapes, checked against the program's limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from thalweg.errors import InvalidArgument
from thalweg.extents import Expression, evaluate, format_shape, names_in
from thalweg.module.program import FunctionSignature
from thalweg.runtime.arguments import role_of

MAX_DIMENSION = 2**32 - 1
"""No dimension is larger: kernels get its value as an unsigned 32-bit word."""


class Dimensions:
    """The named dimensions of one function."""

    def __init__(self, signature: FunctionSignature):
        self._signature = signature
        self._sources: list[tuple[str, int, int]] = []
        """(name, input, axis): where a name's value is read."""
        self._checks: list[tuple[Expression, int, int]] = []
        """(expression, input, axis): what must agree with the values read."""
        seen: set[str] = set()
        for number, tensor in enumerate(signature.inputs):
            for axis, extent in enumerate(tensor.shape):
                if not isinstance(extent, Expression):
                    continue
                name = str(extent)
                if names_in(extent) == (name,) and name not in seen:
                    seen.add(name)
                    self._sources.append((name, number, axis))
                else:
                    self._checks.append((extent, number, axis))
        self._ranks = [len(tensor.shape) for tensor in signature.inputs]

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions, in the order in which ``key`` gives their values."""
        return tuple(name for name, _, _ in self._sources)

    def key(self, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        """Return the value of each dimension, unchecked but for the inputs' ranks.

        :raises InvalidArgument: an input has another rank than the signature says.
        """
        for number, (rank, shape) in enumerate(zip(self._ranks, shapes)):
            if len(shape) != rank:
                tensor = self._signature.inputs[number]
                raise InvalidArgument(
                    f"{self._role(number)}: expected {rank} dimensions {format_shape(tensor.shape)},"
                    f" got {len(shape)} {list(shape)}"
                )
        return tuple(shapes[number][axis] for _, number, axis in self._sources)

    def check(self, key: tuple[int, ...], shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
        """Return the dimensions by name, checked: from 1 to the largest, within the limits, and the same in
        every input.

        :raises InvalidArgument: naming the dimension, its value and what it may be.
        """
        values = dict(zip(self.names, key))
        for name, number, axis in self._sources:
            if values[name] < 1:
                raise InvalidArgument(
                    f"{self._role(number)}: {name}={values[name]} at dimension {axis}; it is at least 1"
                )
            if values[name] > MAX_DIMENSION:
                raise InvalidArgument(
                    f"{self._role(number)}: {name}={values[name]} at dimension {axis}; it is at most"
                    f" {MAX_DIMENSION}"
                )
        for extent, number, axis in self._checks:
            wanted, found = evaluate(extent, values), shapes[number][axis]
            if wanted != found:
                tensor = self._signature.inputs[number]
                raise InvalidArgument(
                    f"{self._role(number)}: expected {extent}={wanted} at dimension {axis}, got {found}"
                    f" (shape {format_shape(tensor.shape)}, got {list(shapes[number])});"
                    f" {self._origin(extent, values)}"
                )
        check_limits(self._signature, values)
        return values

    def _role(self, number: int) -> str:
        return role_of(self._signature.inputs[number], "input", self._signature.name)

    def _origin(self, extent: Expression, values: Mapping[str, int]) -> str:
        """Return where the values of an expression's names were read."""
        parts = [
            f"{name}={values[name]} is dimension {axis} of input {self._signature.inputs[number].name!r}"
            for name, number, axis in self._sources
            if name in names_in(extent)
        ]
        return ", ".join(parts)


def check_limits(signature: FunctionSignature, values: Mapping[str, int]) -> None:
    """Check what the program needs of its dimensions.

    :raises InvalidArgument: ``tokens=700 exceeds positions=512``; for a maximum below 0, which says how much
        of something there is at least, ``height=2 is less than 3, a window``.
    """
    for limit in signature.limits:
        found = evaluate(limit.extent, values)
        if found > limit.maximum:
            if limit.maximum < 0:
                raise InvalidArgument(
                    f"{signature.name}: {-limit.extent}={-found} is less than {-limit.maximum}, "
                    f"{limit.reason}"
                )
            bound = str(limit.maximum)
            if limit.reason:
                named = limit.reason.isidentifier()
                bound = f"{limit.reason}={bound}" if named else f"{bound}, {limit.reason}"
            raise InvalidArgument(f"{signature.name}: {limit.extent}={found} exceeds {bound}")
