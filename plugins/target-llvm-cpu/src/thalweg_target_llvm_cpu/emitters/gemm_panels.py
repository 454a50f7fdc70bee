"""Gathering the columns' side of a matrix product into a panel [depth, panel width] of local memory."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.extents import Extent

from thalweg_target_llvm_cpu.builder import ELEMENT_BYTES, LLVM_TYPES, Int, KernelBuilder, Value, vector_type
from thalweg_target_llvm_cpu.emitters.gemm_problem import Problem, Window
from thalweg_target_llvm_cpu.emitters.gemm_tiling import Tiling


class PanelWriter:
    """Writes panels of one kernel.

    :param source: the address of the image (of one group, one batch element) or of the matrix [depth,
        columns].
    :param panel: where panels go; row ``k`` of a panel starts ``k * panel_width`` elements in.
    """

    def __init__(self, b: KernelBuilder, problem: Problem, tiling: Tiling, source: Value, panel: Value):
        self.b = b
        self.problem = problem
        self.tiling = tiling
        self.source = source
        self.panel = panel
        self.scalar = LLVM_TYPES[problem.element]
        self.type = vector_type(self.scalar, tiling.lanes)
        self.align = ELEMENT_BYTES[problem.element]

    def write(self, column: Int, masks: Sequence[Value | None]) -> None:
        """Write the panel of columns from ``column`` on: a vector for each of ``masks``, the lanes that
        exist.
        """
        window = self.problem.window
        vectors = len(masks)
        if window is None or window.pointwise:
            self._rows(column, masks)
        else:
            self._windows(window, column, vectors)

    def _store(self, value: Value, depth: Int, vector: int) -> None:
        index = self.b.add(self.b.mul(depth, self.tiling.panel_width), vector * self.tiling.lanes)
        self.b.store(value, self.b.address(self.panel, index, self.scalar), self.align * self.tiling.lanes)

    def _rows(self, column: Int, masks: Sequence[Value | None]) -> None:
        b, lanes = self.b, self.tiling.lanes
        zero = b.float(0.0, self.type)
        with b.loop(0, self.problem.depth) as k:
            row = b.add(b.mul(k, self.problem.columns), column)
            for j, mask in enumerate(masks):
                address = b.address(self.source, b.add(row, j * lanes), self.scalar)
                if mask is not None:
                    self._store(b.masked_load(address, mask, zero, self.align), k, j)
                else:
                    self._store(b.load(address, self.type, self.align), k, j)

    # -- windows ---------------------------------------------------------------------------------------------

    def _windows(self, window: Window, column: Int, vectors: int) -> None:
        """Gather a convolution's windows: per tap and vector a mask and an address, then all channels."""
        b = self.b
        corners = [self._corner(window, column, j) for j in range(vectors)]
        with b.loop(0, window.kernel[0]) as kh, b.loop(0, window.kernel[1]) as kw:
            tap = b.mul(b.add(b.mul(kh, window.kernel[1]), kw), window.channels)
            for j, (row, col, inside) in enumerate(corners):
                row_kh = self._shift(row, b.mul(kh, window.dilations[0]))
                col_kw = self._shift(col, b.mul(kw, window.dilations[1]))
                mask = b.binary("and", inside, self._below(row_kh, window.height))
                mask = b.binary("and", mask, self._below(col_kw, window.width))
                indices = b.binary("add", b.binary("mul", row_kh, self._splat(window.width)), col_kw)
                self._channels(window, indices, mask, tap, j)

    def _splat(self, value: Extent) -> Value:
        return self.b.integer(value, vector_type("i32", self.tiling.lanes))

    def _shift(self, lanes: Value, by: Int) -> Value:
        if isinstance(by, int):
            return self.b.binary("add", lanes, self._splat(by))
        narrow = self.b.cast("trunc", self.b.integer(by), "i32")
        return self.b.binary("add", lanes, self.b.broadcast(narrow, self.tiling.lanes))

    def _below(self, lanes: Value, limit: Extent) -> Value:
        return self.b.icmp("ult", lanes, self._splat(limit))

    def _corner(self, window: Window, column: Int, vector: int) -> tuple[Value, Value, Value]:
        """Return the image row and column of tap (0, 0) for each lane, and which lanes are columns of the
        result.
        """
        b, lanes = self.b, self.tiling.lanes
        first = b.cast("trunc", b.integer(b.add(column, vector * lanes)), "i32")
        number = b.binary("add", b.broadcast(first, lanes), b.iota(lanes, "i32"))
        inside = self._below(number, self.problem.columns)
        out_row = b.binary("udiv", number, self._splat(window.out_width))
        out_col = b.binary("sub", number, b.binary("mul", out_row, self._splat(window.out_width)))
        row = b.binary("mul", out_row, self._splat(window.strides[0]))
        col = b.binary("mul", out_col, self._splat(window.strides[1]))
        row = b.binary("sub", row, self._splat(window.pads_low[0]))
        return row, b.binary("sub", col, self._splat(window.pads_low[1])), inside

    def _channels(self, window: Window, indices: Value, mask: Value, tap: Int, vector: int) -> None:
        """Load one vector for every channel, in the cheapest way that the lanes' addresses allow."""
        b, lanes = self.b, self.tiling.lanes
        first = b.cast("sext", b.extract(indices, 0), "i64")
        stride = window.strides[1]
        if lanes == 1 or stride > 2:
            self._each_channel(window, tap, vector, lambda base: self._gathered(base, indices, mask))
            return
        if stride == 1 and window.out_width == window.width * window.strides[0]:
            self._each_channel(window, tap, vector, lambda base: self._contiguous(base, first, mask))
            return
        last = b.cast("sext", b.extract(indices, lanes - 1), "i64")
        span = b.integer(b.sub(last, first))
        straight = b.icmp("eq", span, b.integer(stride * (lanes - 1)))
        near = self._contiguous if stride == 1 else self._every_second
        b.choose(
            straight,
            lambda: self._each_channel(window, tap, vector, lambda base: near(base, first, mask)),
            lambda: self._each_channel(window, tap, vector, lambda base: self._gathered(base, indices, mask)),
        )

    def _each_channel(self, window: Window, tap: Int, vector: int, load) -> None:
        b = self.b
        with b.loop(0, window.channels) as channel:
            base = b.address(self.source, b.mul(channel, window.height * window.width), self.scalar)
            self._store(load(base), b.add(tap, channel), vector)

    def _at(self, base: Value, index: Int) -> Value:
        """An address that may lie outside the image, for masked accesses: no ``inbounds``."""
        index = self.b.integer(index)
        return self.b.emit(f"getelementptr {self.scalar}, ptr {base.text}, i64 {index.text}", "ptr")

    def _contiguous(self, base: Value, first: Value, mask: Value) -> Value:
        return self.b.masked_load(self._at(base, first), mask, self.b.float(0.0, self.type), self.align)

    def _every_second(self, base: Value, first: Value, mask: Value) -> Value:
        b, lanes = self.b, self.tiling.lanes
        none = b.integer(0, vector_type("i1", lanes))
        zero = b.float(0.0, self.type)
        halves = []
        for half in range(2):
            spread = [half * (lanes // 2) + t // 2 if t % 2 == 0 else lanes for t in range(lanes)]
            part = b.shuffle(mask, none, spread)
            halves.append(b.masked_load(self._at(base, b.add(first, half * lanes)), part, zero, self.align))
        return b.shuffle(halves[0], halves[1], [2 * t for t in range(lanes)])

    def _gathered(self, base: Value, indices: Value, mask: Value) -> Value:
        if self.tiling.lanes == 1:
            cell = self.b.variable(self.b.float(0.0, self.scalar))
            with self.b.when(mask):
                address = self._at(base, self.b.cast("sext", indices, "i64"))
                cell.set(self.b.load(address, self.scalar, self.align))
            return cell.get()
        return self.b.gather(base, indices, mask, self.b.float(0.0, self.type), self.align)
