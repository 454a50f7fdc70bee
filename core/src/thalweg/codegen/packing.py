"""Operand packings: a data layout that a target asks for, as pad, split and transpose.

The same description serves constants (packed once, at compile time) and, later, activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np


@dataclass(frozen=True)
class Packing:
    """Reshape to ``view``, zero-pad each dimension's end to ``padded``, reshape to ``split``, then transpose.

    All four are static extents; ``prod(view)`` is the operand's element count and ``prod(split) ==
    prod(padded)``. Example, an OIHW weight [64, 3, 7, 7] in panels of 8 output channels: ``view=(64, 3, 7,
    7)``, ``padded=(64, 3, 7, 7)``, ``split=(8, 8, 3, 7, 7)``, ``permutation=(0, 3, 4, 2, 1)``.
    """

    view: tuple[int, ...]
    padded: tuple[int, ...]
    split: tuple[int, ...]
    permutation: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The packed shape."""
        return tuple(self.split[axis] for axis in self.permutation)

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return ``array`` packed: a C-contiguous array of shape ``self.shape``, same dtype."""
        viewed = np.asarray(array).reshape(self.view)
        if self.padded != self.view:
            viewed = np.pad(viewed, [(0, after - before) for before, after in zip(self.view, self.padded)])
        assert prod(self.split) == prod(self.padded)
        return np.ascontiguousarray(viewed.reshape(self.split).transpose(self.permutation))

    def undo(self, packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return the array of ``shape`` that ``apply`` made ``packed`` from: C-contiguous, same dtype."""
        order = np.argsort(self.permutation)
        padded = np.asarray(packed).reshape(self.shape).transpose(order).reshape(self.padded)
        viewed = padded[tuple(slice(extent) for extent in self.view)]
        return np.ascontiguousarray(viewed).reshape(shape)
