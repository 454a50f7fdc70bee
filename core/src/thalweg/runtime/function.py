"""A function of a loaded program: what calling it does, apart from how its commands run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from thalweg.errors import InvalidArgument
from thalweg.extents import format_shape
from thalweg.module.program import FunctionSignature, TensorSignature
from thalweg.runtime.addresses import address_of, same_bytes
from thalweg.runtime.arguments import TensorCheck, bind, bind_targets
from thalweg.runtime.device_array import DeviceArray


class NamedOutputs(tuple):
    """A function's results in order; ``results["name"]`` gives one by the output's name."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, names: tuple[str, ...], values: Sequence[Any]) -> NamedOutputs:
        """Make a tuple of ``values`` with ``names``."""
        outputs = cls(values)
        outputs.names = names
        return outputs

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        if key not in self.names:
            raise KeyError(f"no output {key!r}; there are: {', '.join(self.names)}")
        return super().__getitem__(self.names.index(key))


class ProgramFunction(ABC):
    """A function of a loaded program. Safe to call from any number of threads at once.

    Call it with its inputs, by position or by name. It returns one array, or a ``NamedOutputs`` tuple;
    ``out=`` (an array, a tuple of them, or a mapping by output name) says where results go, and they come
    back as given. ``out=`` arrays share no memory with the inputs or each other. An input that is called
    ``out`` is given by position.
    """

    def __init__(self, signature: FunctionSignature):
        self.signature = signature

    @property
    def name(self) -> str:
        """The function's name."""
        return self.signature.name

    @abstractmethod
    def __call__(self, /, *positional: Any, out: Any = None, **named: Any) -> Any:
        """Run the function to its end.

        :raises InvalidArgument: the arguments do not fit the signature.
        :raises Aborted: a kernel failed; the message says which and why.
        """

    def __repr__(self) -> str:
        inputs = ", ".join(_describe(tensor) for tensor in self.signature.inputs)
        outputs = ", ".join(_describe(tensor) for tensor in self.signature.outputs)
        return f"<function {self.name}({inputs}) -> ({outputs})>"


class StaticFunction(ProgramFunction):
    """A function whose dimensions are numbers."""

    def __init__(self, signature: FunctionSignature):
        super().__init__(signature)
        self._inputs = tuple(TensorCheck.of(t, "input", signature.name) for t in signature.inputs)
        self._outputs = tuple(TensorCheck.of(t, "output", signature.name) for t in signature.outputs)
        self._names = tuple(tensor.name for tensor in signature.outputs)

    def __call__(self, /, *positional: Any, out: Any = None, **named: Any) -> Any:
        """Run the function to its end; see ``ProgramFunction``."""
        values = bind(self.signature, positional, named)
        inputs = [check.accept(value) for check, value in zip(self._inputs, values)]
        targets = [
            None if target is None else check.accept_target(target)
            for check, target in zip(self._outputs, bind_targets(self.signature, out))
        ]
        self._refuse_overlaps(inputs, targets)
        return self._result(self._run(inputs, targets))

    @abstractmethod
    def _run(
        self, inputs: Sequence[np.ndarray | DeviceArray], targets: Sequence[np.ndarray | DeviceArray | None]
    ) -> list[np.ndarray | DeviceArray]:
        """Run on checked arrays and return the results: ``targets`` where given, else new device arrays."""

    def _result(self, results: Sequence[Any]) -> Any:
        return results[0] if len(results) == 1 else NamedOutputs.of(self._names, results)

    def _refuse_overlaps(self, inputs: Sequence[Any], targets: Sequence[Any]) -> None:
        ranges = [(check.role, *_range(value)) for check, value in zip(self._inputs, inputs)]
        for check, target in zip(self._outputs, targets):
            if target is None:
                continue
            start, size = _range(target)
            for role, other, other_size in ranges:
                if same_bytes(start, size, other, other_size):
                    raise InvalidArgument(f"{check.role}: the array given as out= shares memory with {role}")
            ranges.append((check.role, start, size))


def _describe(tensor: TensorSignature) -> str:
    return f"{tensor.name}: {tensor.dtype}{format_shape(tensor.shape)}"


def _range(array: np.ndarray | DeviceArray) -> tuple[int, int]:
    """Return (address, bytes) of the memory that an array spans."""
    if isinstance(array, DeviceArray):
        if array._address is None:
            return id(array.buffer), 1  # one buffer is one range of its own
        return array._address, array.nbytes
    if array.flags.c_contiguous:
        return address_of(array), array.nbytes
    if not array.size:
        return 0, 0
    steps = [(extent - 1) * stride for extent, stride in zip(array.shape, array.strides)]
    low = sum(step for step in steps if step < 0)
    high = sum(step for step in steps if step > 0)
    return array.__array_interface__["data"][0] + low, high - low + array.itemsize
