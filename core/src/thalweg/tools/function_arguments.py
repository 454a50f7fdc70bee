"""Turn ``--input``, ``--output`` and ``--expected-output`` values into tensors for a function's signature.

The syntax is IREE's: a typed list (``2x2xi32=1 2 3 4``), a typed splat or zeros (``4xf32=1``, ``4xf32``), a
scalar (``3.14``), arrays of a ``.npy`` file (``@a.npy`` the first, ``+a.npy`` the next, ``*a.npy`` all that
remain), raw bytes (``2x2xi32=@f.bin``, ``=+f.bin``). Any of them may have the tensor's name in front:
``x=4xf32=0``.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.dtypes import numpy_dtype
from thalweg.errors import InvalidArgument, NotSupported
from thalweg.module.program import TensorSignature
from thalweg.tools.tensor_files import TensorReader, check_writable
from thalweg.tools.tensor_text import TensorType, parse_values

IGNORED = "(ignored)"


def parse_inputs(texts: Sequence[str], signatures: Sequence[TensorSignature]) -> list[np.ndarray]:
    """Return one array for each input of a function, in order.

    :raises InvalidArgument: malformed, missing, extra, given twice, or of an unknown name.
    """
    given: dict[str, np.ndarray] = {}
    places = _Places(signatures, "input")
    with TensorReader() as reader:
        for text in texts:
            name, rest = places.split(text)
            for array in _arrays(rest, places.peek(name), reader):
                signature = places.take(name)
                given[signature.name] = _reinterpret(array, signature)
    missing = [signature for signature in signatures if signature.name not in given]
    if missing:
        names = ", ".join(f"{signature.name} ({_type_of(signature)})" for signature in missing)
        takes = _counted(signatures, "input")
        raise InvalidArgument(f"the function takes {takes}, {len(given)} were given; missing: {names}")
    return [given[signature.name] for signature in signatures]


def parse_expected(texts: Sequence[str], signatures: Sequence[TensorSignature]) -> list[np.ndarray | None]:
    """Return what each output should be; ``None`` where it is ``(ignored)``.

    :raises InvalidArgument: malformed, or not one for each output.
    """
    given: dict[str, np.ndarray | None] = {}
    places = _Places(signatures, "output")
    with TensorReader() as reader:
        for text in texts:
            name, rest = places.split(text)
            if rest == IGNORED:
                given[places.take(name).name] = None
                continue
            for array in _arrays(rest, places.peek(name), reader):
                signature = places.take(name)
                given[signature.name] = _reinterpret(array, signature)
    if len(given) != len(signatures):
        has = _counted(signatures, "output")
        raise InvalidArgument(f"the function has {has}, {len(given)} were expected; {IGNORED} skips one")
    return [given[signature.name] for signature in signatures]


@dataclass(frozen=True)
class OutputTarget:
    """Where an output goes: a file, or standard output if ``path`` is ``-``; nowhere if it is empty."""

    path: str
    append: bool = False


def parse_outputs(texts: Sequence[str], signatures: Sequence[TensorSignature]) -> list[OutputTarget]:
    """Return where each output goes: printed when ``texts`` is empty.

    :raises InvalidArgument: malformed, not one for each output, or a file that cannot be written.
    """
    if not texts:
        return [OutputTarget("-")] * len(signatures)
    given: dict[str, OutputTarget] = {}
    places = _Places(signatures, "output")
    for text in texts:
        name, rest = places.split(text)
        given[places.take(name).name] = _output_target(rest)
    if len(given) != len(signatures):
        has = _counted(signatures, "output")
        raise InvalidArgument(
            f"the function has {has}, --output was given {len(given)} times; '' ignores one"
        )
    return [given[signature.name] for signature in signatures]


def _output_target(text: str) -> OutputTarget:
    if text in ("", "-"):
        return OutputTarget(text)
    if text[0] not in "@+" or len(text) == 1:
        raise InvalidArgument(
            f"--output {text!r}: write - to print, @FILE to create a file, +FILE to append, '' to ignore"
        )
    check_writable(text[1:])
    return OutputTarget(text[1:], append=text[0] == "+")


class _Places:
    """Which input or output an argument is for: the one named in front of it, else the next in order."""

    def __init__(self, signatures: Sequence[TensorSignature], role: str):
        self._signatures = {signature.name: signature for signature in signatures}
        self._role = role
        self._taken: set[str] = set()
        self._position = 0

    def split(self, text: str) -> tuple[str | None, str]:
        """Split ``NAME=SPEC``; a type in front of the ``=`` is no name, and a name may hold ``=`` itself."""
        head, equals, rest = text.partition("=")
        if not equals or TensorType.parse(head) is not None or head[:1] in ("@", "+", "*", "&", "("):
            return None, text
        for name in self._signatures:
            if text.startswith(name + "="):
                return name, text[len(name) + 1 :]
        return head, rest

    def peek(self, name: str | None) -> TensorSignature:
        """Return what the next argument is for, if it has ``name`` in front (``None``: nothing).

        :raises InvalidArgument: no such name, or more than there are.
        """
        names = list(self._signatures)
        if name is None:
            if self._position >= len(names):
                raise InvalidArgument(f"the function has {_counted(names, self._role)}; more were given")
            name = names[self._position]
        if name not in self._signatures:
            nearest = difflib.get_close_matches(name, names, n=1)
            hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
            raise InvalidArgument(
                f"no {self._role} is named {name!r}; there are: {', '.join(names) or 'none'}{hint}"
            )
        return self._signatures[name]

    def take(self, name: str | None) -> TensorSignature:
        """Return what the next argument is for, as ``peek``, and go on.

        :raises InvalidArgument: it was given before.
        """
        signature = self.peek(name)
        self._position += name is None
        if signature.name in self._taken:
            raise InvalidArgument(f"{self._role} {signature.name!r} was given twice")
        self._taken.add(signature.name)
        return signature


def _arrays(text: str, signature: TensorSignature, reader: TensorReader) -> list[np.ndarray]:
    if text.startswith("*"):
        return reader.read_remaining(_npy_path(text))
    return [_parse_one(text, signature, reader)]


def _parse_one(text: str, signature: TensorSignature, reader: TensorReader) -> np.ndarray:
    if text.startswith("&"):
        raise NotSupported("output-storage", f"{text!r}: output storage arguments are not supported")
    if text == "(null)":
        raise NotSupported("null-tensors", "(null): functions of a module take no null tensors")
    if text[:1] in ("@", "+"):
        return reader.read_array(_npy_path(text), restart=text[0] == "@")
    head, equals, values = text.partition("=")
    tensor_type = TensorType.parse(head)
    if tensor_type is None:
        return _parse_scalar(text, signature)
    if not equals:
        return np.zeros(tensor_type.shape, numpy_dtype(tensor_type.dtype))
    if values[:1] in ("@", "+"):
        if values.endswith(".npy"):
            raise InvalidArgument(f"{text!r}: a .npy file has its own type; write {values!r}")
        return reader.read_raw(values[1:], tensor_type, restart=values[0] == "@")
    return parse_values(values, tensor_type)


def _parse_scalar(text: str, signature: TensorSignature) -> np.ndarray:
    try:
        return parse_values(text, TensorType((), signature.dtype))
    except InvalidArgument as error:
        raise InvalidArgument(
            f"{text!r} is no tensor for {signature.name}: {error};"
            " write a type and values (2x2xf32=1 2 3 4), a number, or @FILE.npy"
        ) from None


def _npy_path(text: str) -> str:
    if not text.endswith(".npy"):
        raise InvalidArgument(
            f"{text!r}: raw bytes need a type in front, as 2x2xf32={text}; or name a .npy file"
        )
    return text[1:]


def _reinterpret(array: np.ndarray, signature: TensorSignature) -> np.ndarray:
    """NumPy's file format knows bfloat16 only as bytes of that size: give them their type back."""
    dtype = numpy_dtype(signature.dtype)
    if array.dtype.kind == "V" and array.dtype.itemsize == dtype.itemsize:
        return array.view(dtype)
    return array


def _counted(items: Sequence[object], role: str) -> str:
    return f"{len(items)} {role}{'' if len(items) == 1 else 's'}"


def _type_of(signature: TensorSignature) -> str:
    return "x".join([*map(str, signature.shape), signature.dtype])
