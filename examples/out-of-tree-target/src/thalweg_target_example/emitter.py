"""Writes a dispatch as C.

Each value of the dispatch becomes a C function that computes one element of it from the element's indices,
and calls the functions of the values it needs. The kernel calls that of each result, row after row. So
nothing between two ops is stored, and the C compiler, which inlines the functions, fuses them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
from thalweg.api import NotSupported
from thalweg.dtypes import numpy_dtype
from thalweg.extents import Extent
from thalweg.ir import Dispatch, element_name, extents_of
from thalweg.ir.attributes import number
from thalweg.ir.dialects.tw import SplatOp
from thalweg.ir.evaluate import constant_array
from thalweg.semantics import splat
from xdsl.dialects import arith, func, tensor
from xdsl.ir import Operation, SSAValue

from thalweg_target_example.c_text import c_type, extent_text, literal, row_major
from thalweg_target_example.executable import symbol

Read = Callable[[Sequence[str]], str]
"""The indices of an element, as C → the element, as C."""


@dataclass(frozen=True)
class Tensor:
    """A value of the dispatch: its element type, its extents as C, and how to read an element."""

    dtype: str
    extents: tuple[str, ...]
    read: Read

    @property
    def c_type(self) -> str:
        """The C type of an element."""
        return c_type(self.dtype)


class Emitter:
    """Collects the C functions of one dispatch."""

    def __init__(self, dispatch: Dispatch):
        self._dispatch = dispatch
        self._dimensions = {
            name: f"(int64_t)a->dimensions[{i}]" for i, name in enumerate(dispatch.dimensions)
        }
        self._tensors: dict[SSAValue, Tensor] = {}
        self._functions: list[str] = []
        self._count = 0

    def extent(self, extent: Extent) -> str:
        """Return an extent as C."""
        return extent_text(extent, self._dimensions)

    def tensor(self, value: SSAValue) -> Tensor:
        """Return a value that has been written.

        :raises NotSupported: it has no elements yet: a ``tensor.empty`` that is read.
        """
        if value not in self._tensors:
            raise NotSupported("undefined-tensor", f"{self._dispatch.name} reads a tensor.empty")
        return self._tensors[value]

    def result(self, value: SSAValue) -> tuple[str, tuple[str, ...]]:
        """Return the element type and the extents, as C, of a value that is about to be written."""
        dtype = element_name(value.type)
        c_type(dtype)  # refuses element types that there is no code for
        return dtype, tuple(self.extent(extent) for extent in extents_of(value))

    def add_function(self, value: SSAValue, parameters: Sequence[str], body: Sequence[str]) -> None:
        """Write the function of a value; ``parameters`` name its indices, ``body`` are its lines."""
        dtype, extents = self.result(value)
        name = f"element_{self._count}"
        self._count += 1
        indices = "".join(f", int64_t {parameter} UNUSED" for parameter in parameters)
        head = f"HELPER {c_type(dtype)} {name}(const arguments *a UNUSED{indices}) {{"
        self._functions.append("\n".join([head, *(f"  {line}" for line in body), "}"]))
        self._tensors[value] = Tensor(dtype, extents, lambda at: f"{name}({', '.join(['a', *at])})")

    def kernel(self, rules: dict[type[Operation], Callable[[Emitter, Operation], None]]) -> str:
        """Return the C file of the dispatch; ``rules`` write its ops.

        :raises NotSupported: naming an op that no rule writes.
        """
        for index, value in enumerate(self._dispatch.operands):
            self._tensors[value] = self._binding(index, value)
        for op in self._dispatch.function.body.block.ops:
            if isinstance(op, arith.ConstantOp):
                self._add_constant(op.result, constant_array(op.value, {}))
            elif isinstance(op, SplatOp):
                element = splat(
                    value=number(op.value), shape=(), dtype=numpy_dtype(element_name(op.result.type))
                )
                self._add_constant(op.result, element)
            elif type(op) in rules:
                rules[type(op)](self, op)
            elif not isinstance(op, tensor.EmptyOp | func.ReturnOp):
                raise NotSupported(op.name, f"no C is written for {op.name}")
        prelude = resources.files("thalweg_target_example").joinpath("prelude.h").read_text("utf-8")
        return "\n\n".join([prelude, *self._functions, self._kernel_function()]) + "\n"

    def _binding(self, index: int, value: SSAValue) -> Tensor:
        dtype, extents = self.result(value)
        pointer = f"((const {c_type(dtype)} *)a->bindings[{index}])"
        return Tensor(dtype, extents, lambda at: f"{pointer}[{row_major(at, extents)}]")

    def _add_constant(self, value: SSAValue, array: np.ndarray) -> None:
        dtype, extents = self.result(value)
        elements = [literal(dtype, element) for element in array.reshape(-1)]
        if len(set(elements)) <= 1:
            text = elements[0] if elements else literal(dtype, 0)
            self._tensors[value] = Tensor(dtype, extents, lambda at: text)
            return
        name = f"constant_{self._count}"
        self._count += 1
        self._functions.append(f"static const {c_type(dtype)} {name}[] = {{{', '.join(elements)}}};")
        self._tensors[value] = Tensor(dtype, extents, lambda at: f"{name}[{row_major(at, extents)}]")

    def _kernel_function(self) -> str:
        name = symbol(self._dispatch.name)
        lines = [
            f"int32_t {name}(const thalweg_dispatch_t *dispatch, const thalweg_workgroup_t *workgroup) {{",
            "  int32_t status = THALWEG_KERNEL_OK;",
            "  const arguments all = {dispatch->bindings, dispatch->constants, &status};",
            "  const arguments *const a = &all;",
        ]
        for index, value in enumerate(self._dispatch.results, len(self._dispatch.operands)):
            lines += [f"  {line}" for line in self._rows(index, self.tensor(value))]
        return "\n".join([*lines, "  return status;", "}"])

    def _rows(self, binding: int, result: Tensor) -> list[str]:
        """Return the loops over one result. A row is what the last index runs over; a workgroup takes every
        ``workgroup_count``-th one.
        """
        outer = result.extents[:-1]
        columns = result.extents[-1] if result.extents else "1"
        names = [f"i{axis}" for axis in range(len(outer))]
        at = [*names, "column"] if result.extents else []
        return [
            "{",
            f"  {result.c_type} *const out = a->bindings[{binding}];",
            f"  const int64_t columns = {columns}, rows = {'*'.join(outer) or '1'};",
            "  for (int64_t row = workgroup->id[0]; row < rows; row += dispatch->workgroup_count[0]) {",
            *(f"    {line}" for line in split("row", names, outer)),
            "    for (int64_t column = 0; column < columns; ++column)",
            f"      out[row * columns + column] = {result.read(at)};",
            "  }",
            "}",
        ]


def split(element: str, names: Sequence[str], extents: Sequence[str]) -> list[str]:
    """Return lines that define the indices ``names`` of an element's row-major number."""
    lines = [f"int64_t rest_of_{element} UNUSED = {element};"]
    for name, extent in reversed(list(zip(names, extents))):
        lines += [
            f"const int64_t {name} UNUSED = rest_of_{element} % {extent};",
            f"rest_of_{element} /= {extent};",
        ]
    return lines
