"""Functions of named dimensions: one static function for each set of values, in a bounded cache."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from thalweg.dtypes import numpy_dtype
from thalweg.errors import InvalidArgument
from thalweg.module.program import FunctionSignature, TensorSignature
from thalweg.runtime.arguments import as_numpy, bind, role_of
from thalweg.runtime.device_array import DeviceArray
from thalweg.runtime.dimensions import Dimensions
from thalweg.runtime.function import ProgramFunction

CACHE_SIZE = 32
"""How many sets of dimensions a function keeps prepared; the one unused for longest goes first."""

Specialize = Callable[[dict[str, int]], ProgramFunction]
"""Make the static function at these dimensions."""


class DynamicFunction(ProgramFunction):
    """A function whose inputs have named dimensions. Calls at dimensions seen before cost what static ones
    cost.

    Two calls may run at once, at the same dimensions or others.
    """

    def __init__(self, signature: FunctionSignature, specialize: Specialize):
        super().__init__(signature)
        self._specialize = specialize
        self._dimensions = Dimensions(signature)
        self._prepared: OrderedDict[tuple[int, ...], ProgramFunction] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, /, *positional: Any, out: Any = None, **named: Any) -> Any:
        """Run the function to its end; see ``ProgramFunction``.

        :raises InvalidArgument: also where a dimension is beyond a limit, as ``tokens=700 exceeds
            positions=512``, or two inputs disagree about one.
        """
        if named or len(positional) != len(self.signature.inputs):
            positional = tuple(bind(self.signature, positional, named))
        arrays = [
            value if type(value) in (np.ndarray, DeviceArray) else self._array(value, tensor)
            for value, tensor in zip(positional, self.signature.inputs)
        ]
        shapes = [array.shape for array in arrays]
        function = self._at(shapes)
        try:
            return function(*arrays, out=out)
        except InvalidArgument:
            self._dimensions.check(self._dimensions.key(shapes), shapes)  # says which dimension is wrong
            raise

    def _at(self, shapes: list[tuple[int, ...]]) -> ProgramFunction:
        key = self._dimensions.key(shapes)
        with self._lock:
            function = self._prepared.get(key)
            if function is not None:
                self._prepared.move_to_end(key)
                return function
        function = self._specialize(self._dimensions.check(key, shapes))
        with self._lock:
            self._prepared[key] = function
            if len(self._prepared) > CACHE_SIZE:
                self._prepared.popitem(last=False)
        return function

    def _array(self, value: Any, tensor: TensorSignature) -> np.ndarray:
        return as_numpy(value, role_of(tensor, "input", self.signature.name), numpy_dtype(tensor.dtype))
