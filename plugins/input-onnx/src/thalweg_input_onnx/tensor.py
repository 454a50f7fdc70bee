"""A tensor of the graph while it is imported: its type, and its elements where they are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from thalweg.extents import Extent


@dataclass(eq=False)
class Tensor:
    """A value of the graph.

    ``array`` holds the elements of a known constant, ``value`` the SSA value; a constant gets its SSA value
    when an op first needs it, so that constants which only steer the import (shapes, axes, pads) leave no
    trace. ``extents`` holds the elements (dtype object) of an integer tensor that are expressions of dynamic
    dimensions. ``counts``: the elements are 0, 1, 2, … up to this extent, exclusive.
    """

    shape: tuple[Extent, ...]
    dtype: str
    array: np.ndarray | None = None
    value: Any = None
    extents: np.ndarray | None = None
    counts: Extent | None = None
    name: str = field(default="", repr=False)

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> Extent:
        """The number of elements."""
        return prod(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return self.dtype in FLOATS

    @property
    def is_unsigned(self) -> bool:
        """Whether the elements are unsigned integers."""
        return self.dtype.startswith("ui")


FLOATS = ("f16", "bf16", "f32", "f64")
