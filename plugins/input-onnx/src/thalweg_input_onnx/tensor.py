"""A tensor of the graph while it is imported: its type, and its elements where they are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np


@dataclass(eq=False)
class Tensor:
    """A value of the graph.

    ``array`` holds the elements of a known constant, ``value`` the SSA value; a constant gets its SSA value
    when an op first needs it, so that constants which only steer the import (shapes, axes, pads) leave no
    trace.
    """

    shape: tuple[int, ...]
    dtype: str
    array: np.ndarray | None = None
    value: Any = None
    name: str = field(default="", repr=False)

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
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
