"""Functions whose kernels work in host memory: arguments and results are placed there, by address."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from thalweg.runtime.addresses import WRITABLE_CONTIGUOUS_ALIGNED
from thalweg.runtime.arguments import TensorCheck
from thalweg.runtime.device_array import DeviceArray
from thalweg.runtime.function import StaticFunction


class HostMemoryFunction(StaticFunction):
    """Gives ``compute`` C-contiguous, aligned arrays, and puts results where they were asked for."""

    @abstractmethod
    def compute(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Run the commands on these arrays."""

    @abstractmethod
    def new_result(self, check: TensorCheck) -> DeviceArray:
        """Return a new array for an output; its memory is the host's."""

    def _run(
        self, inputs: Sequence[np.ndarray | DeviceArray], targets: Sequence[np.ndarray | DeviceArray | None]
    ) -> list[np.ndarray | DeviceArray]:
        results = [
            self.new_result(check) if target is None else target
            for check, target in zip(self._outputs, targets)
        ]
        memory = [_direct_view(result) for result in results]
        staged = [
            np.empty(check.shape, check.dtype) if array is None else array
            for check, array in zip(self._outputs, memory)
        ]
        sources = [value.to_numpy() if isinstance(value, DeviceArray) else value for value in inputs]
        self.compute(sources, staged)
        for result, direct, computed in zip(results, memory, staged):
            if direct is None:
                _store(result, computed)
        return results


def _direct_view(result: np.ndarray | DeviceArray) -> np.ndarray | None:
    """Return an array over ``result`` that a kernel may write, or ``None`` if there is none."""
    if isinstance(result, DeviceArray):
        return result.to_numpy() if result.is_host_addressable else None
    behaved = result.flags.num & WRITABLE_CONTIGUOUS_ALIGNED == WRITABLE_CONTIGUOUS_ALIGNED
    return result if behaved else None


def _store(result: np.ndarray | DeviceArray, computed: np.ndarray) -> None:
    if isinstance(result, DeviceArray):
        result.write(computed)
    else:
        np.copyto(result, computed, casting="no")
