"""Arrays that live on a device, with NumPy's and DLPack's protocols."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from thalweg.hal.buffer import Buffer
from thalweg.hal.driver import Device
from thalweg.hal.types import MemoryAccess
from thalweg.runtime import dlpack, transfer
from thalweg.runtime.addresses import address_of, bytes_of


class DeviceArray(NDArrayOperatorsMixin):
    """An array in a device's memory: what a program returns and takes without a copy.

    On devices that compute in host memory, NumPy and DLPack see the same bytes; elsewhere they get a copy.
    Operators, indexing and NumPy functions work on the host's view and return NumPy arrays. Create one with
    ``Program.to_device``; it stays valid after the program is closed.
    """

    __slots__ = ("__weakref__", "_address", "_buffer", "_device", "_host", "dtype", "shape")

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype,
        *,
        device: Device | None = None,
        buffer: Buffer | None = None,
        host: np.ndarray | None = None,
    ):
        """Wrap a buffer of ``device``, or host memory (``host``: C-contiguous, of this shape and dtype)."""
        self.shape = shape
        self.dtype = dtype
        self._device = device
        self._buffer = buffer
        self._host = host
        self._address: int | None = None
        if host is not None:
            self._address = address_of(host)
        elif buffer is not None and device is not None and "host-addressable" in device.capabilities:
            self._address = buffer.host_address

    @property
    def device(self) -> Device | None:
        """The device whose memory holds the array; ``None`` for a program that runs in the host itself."""
        return self._device

    @property
    def buffer(self) -> Buffer | None:
        """The HAL buffer that holds the array, if one does."""
        return self._buffer

    @property
    def is_host_addressable(self) -> bool:
        """Whether the array lies in host memory, so that ``to_numpy`` copies nothing."""
        return self._address is not None

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return self.size * self.dtype.itemsize

    def to_numpy(self) -> np.ndarray:
        """Return the array for NumPy: the same memory where the host can address it, else a copy."""
        if self._host is not None:
            return self._host
        assert self._buffer is not None
        if self._address is None:
            return transfer.read(self._require_device(), self._buffer).view(self.dtype).reshape(self.shape)
        memory = self._buffer.map(MemoryAccess.ALL)
        self._host = np.ndarray(self.shape, self.dtype, buffer=memory)
        return self._host

    def write(self, array: np.ndarray) -> None:
        """Overwrite the content with ``array``, of the same shape and dtype."""
        if self._address is not None:
            np.copyto(self.to_numpy(), array, casting="no")
            return
        assert self._buffer is not None
        transfer.write(self._require_device(), self._buffer, bytes_of(np.ascontiguousarray(array)))

    def _require_device(self) -> Device:
        assert self._device is not None
        return self._device

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return a NumPy array, as NumPy 2 defines ``dtype`` and ``copy``."""
        wanted = self.dtype if dtype is None else np.dtype(dtype)
        if copy is False and (self._address is None or wanted != self.dtype):
            reason = (
                "its memory is the device's" if self._address is None else f"it is {self.dtype}, not {wanted}"
            )
            raise ValueError(f"a copy of this array is needed ({reason}) but copy=False was asked for")
        host = self.to_numpy()
        if wanted != self.dtype:
            return host.astype(wanted)
        return host.copy() if copy and self._address is not None else host

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
        """Compute on the host; the result is a NumPy array."""
        plain = [item.to_numpy() if isinstance(item, DeviceArray) else item for item in inputs]
        if "out" in settings:
            settings["out"] = tuple(
                item.to_numpy() if isinstance(item, DeviceArray) else item for item in settings["out"]
            )
        return getattr(ufunc, method)(*plain, **settings)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return DLPack's (device type, number)."""
        return dlpack.CPU if self._address is not None else dlpack.EXTENSION

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return a DLPack capsule over the array's memory, which it keeps alive.

        :raises BufferError: another device than the host was asked for, or the memory is not the host's and
            no copy to the host was asked for.
        """
        if dl_device not in (None, dlpack.CPU):
            raise BufferError(
                f"this array can be had on the host, DLPack device (1, 0); asked for {dl_device}"
            )
        if self._address is None and (dl_device is None or copy is False):
            raise BufferError("this array lies in device memory; ask for dl_device=(1, 0) or use to_numpy()")
        host = self.to_numpy()
        if copy and self._address is not None:
            host = host.copy()
        return dlpack.export_array(host, stream, max_version)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without dimensions")
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        return self.to_numpy()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_numpy())

    def __float__(self) -> float:
        return float(self.to_numpy())

    def __int__(self) -> int:
        return int(self.to_numpy())

    def __bool__(self) -> bool:
        return bool(self.to_numpy())

    def item(self) -> Any:
        """Return the only element as a Python scalar."""
        return self.to_numpy().item()

    def tolist(self) -> Any:
        """Return the elements as nested lists."""
        return self.to_numpy().tolist()

    def __repr__(self) -> str:
        where = self._device.identifier if self._device is not None else "host"
        return f"DeviceArray({self.to_numpy()!r}, device={where!r})"
