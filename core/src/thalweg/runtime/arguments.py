"""Checks a call's arguments against a signature: one clear line for each mistake, and never a silent cast."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from thalweg.dtypes import numpy_dtype
from thalweg.errors import InvalidArgument
from thalweg.extents import static
from thalweg.module.program import FunctionSignature, TensorSignature
from thalweg.module.verification import tensor_bytes
from thalweg.runtime import dlpack
from thalweg.runtime.addresses import CONTIGUOUS_ALIGNED
from thalweg.runtime.device_array import DeviceArray


@dataclass(frozen=True)
class TensorCheck:
    """What one input or output must be. ``role`` names it in messages, as ``input 'x' of main``."""

    role: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    nbytes: int

    @classmethod
    def of(cls, tensor: TensorSignature, kind: str, function: str) -> TensorCheck:
        """Make the check of a signature's tensor, whose dimensions are numbers."""
        role = role_of(tensor, kind, function)
        nbytes = index(tensor_bytes(tensor))
        return cls(role, tensor.name, static(tensor.shape), numpy_dtype(tensor.dtype), nbytes)

    def error(self, message: str) -> InvalidArgument:
        """Return an error about this tensor."""
        return InvalidArgument(f"{self.role}: {message}")

    def check(self, array: np.ndarray | DeviceArray) -> None:
        """Check dtype, rank and dimensions.

        :raises InvalidArgument: naming the tensor, what was expected and what was found.
        """
        if array.dtype != self.dtype:
            raise self.error(
                f"expected {self.dtype}, got {array.dtype}; convert it, for example with"
                f" {self.name if self.name.isidentifier() else 'x'}.astype({_numpy_name(self.dtype)})"
            )
        if array.shape == self.shape:
            return
        expected, found = list(self.shape), list(array.shape)
        if len(expected) != len(found):
            raise self.error(f"expected {len(expected)} dimensions {expected}, got {len(found)} {found}")
        axis = next(axis for axis, pair in enumerate(zip(expected, found)) if pair[0] != pair[1])
        where = f"at dimension {axis}, got {found[axis]} (shape {expected}, got {found})"
        raise self.error(f"expected {expected[axis]} {where}")

    def accept(self, value: Any) -> np.ndarray | DeviceArray:
        """Return an input as a checked array: a device array, or a C-contiguous, aligned NumPy one.

        :raises InvalidArgument: not an array, or not the one that is expected.
        """
        if isinstance(value, DeviceArray):
            self.check(value)
            return value
        array = as_numpy(value, self.role, self.dtype)
        self.check(array)
        if array.flags.num & CONTIGUOUS_ALIGNED != CONTIGUOUS_ALIGNED:
            array = np.array(array, order="C", copy=True)
        return array

    def accept_target(self, value: Any) -> np.ndarray | DeviceArray:
        """Return an array to write a result to.

        :raises InvalidArgument: not an array, read-only, or not the one that is expected.
        """
        if not isinstance(value, (np.ndarray, DeviceArray)):
            raise self.error(f"out= takes NumPy arrays and DeviceArrays, got {type(value).__name__}")
        self.check(value)
        if isinstance(value, np.ndarray) and not value.flags.writeable:
            raise self.error("the array given as out= is read-only")
        return value


def role_of(tensor: TensorSignature, kind: str, function: str) -> str:
    """Return how messages name a tensor: ``input 'x' of main``."""
    return f"{kind} {tensor.name!r} of {function}"


def as_numpy(value: Any, role: str, dtype: np.dtype) -> np.ndarray:
    """Return a NumPy array of a NumPy or DLPack object.

    :param role: what it is, for messages. :param dtype: what to convert to, for messages.
    :raises InvalidArgument: it is no array.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    found = type(value).__name__
    if hasattr(value, "__dlpack__"):
        try:
            return dlpack.import_array(value)
        except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
            raise InvalidArgument(f"{role}: cannot read {found} through DLPack: {error}") from None
    raise InvalidArgument(
        f"{role}: expected an array (NumPy, DLPack or DeviceArray), got {found}; convert it, for example with"
        f" np.asarray(x, {_numpy_name(dtype)})"
    )


def _numpy_name(dtype: np.dtype) -> str:
    module = "np" if dtype.isbuiltin == 1 else "ml_dtypes"
    return f"{module}.{'bool_' if dtype == np.bool_ else dtype.name}"


def bind(signature: FunctionSignature, positional: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
    """Return the inputs' values in order.

    :raises InvalidArgument: one is missing, there are too many, a name is unknown, or one is given twice.
    """
    names = [tensor.name for tensor in signature.inputs]
    takes = f"{signature.name} takes {_counted(names)}"
    if len(positional) > len(names):
        raise InvalidArgument(f"{takes}; got {len(positional)} positional")
    values = dict(zip(names, positional))
    for name, value in named.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InvalidArgument(f"{signature.name} has no input {name!r}{hint}; it takes {_counted(names)}")
        if name in values:
            raise InvalidArgument(f"input {name!r} of {signature.name} is given by position and by name")
        values[name] = value
    missing = [name for name in names if name not in values]
    if missing:
        what = f"input{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))}"
        raise InvalidArgument(f"{what} of {signature.name} missing; {takes}; got {len(values)}")
    return [values[name] for name in names]


def _counted(names: Sequence[str]) -> str:
    if not names:
        return "no inputs"
    return f"{len(names)} input{'s' * (len(names) > 1)} ({', '.join(names)})"


def bind_targets(signature: FunctionSignature, out: Any) -> list[Any]:
    """Return what ``out=`` gives for each output in order (``None``: nothing).

    :raises InvalidArgument: the wrong number of arrays, or a name that is no output.
    """
    names = [tensor.name for tensor in signature.outputs]
    if out is None:
        return [None] * len(names)
    if isinstance(out, Mapping):
        unknown = [name for name in out if name not in names]
        if unknown:
            raise InvalidArgument(
                f"{signature.name} has no output {unknown[0]!r}; its outputs are: {', '.join(names)}"
            )
        return [out.get(name) for name in names]
    targets = list(out) if isinstance(out, (tuple, list)) else [out]
    if len(targets) != len(names):
        raise InvalidArgument(
            f"{signature.name} has {len(names)} outputs ({', '.join(names)}); out= gives {len(targets)}"
        )
    return targets
