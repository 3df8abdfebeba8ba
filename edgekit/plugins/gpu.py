"""This machine's GPU, as `bench` needs it: the runtime's device memory under NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.runtime.cuda import open_device, reported

Array = npt.NDArray[Any]


class CudaGpu:
    """The first CUDA device; all its memory is given back by `close`. Raises TargetError where there is none, and
    SessionError with the driver's words where it fails later."""

    def __init__(self) -> None:
        self._device, _ = open_device()
        self.name, self.stream = self._device.name, self._device.stream
        self._addresses: list[int] = []

    def put(self, array: Array) -> int:
        """Copy an array to the device and return its address."""
        with self._reporting(), self._staging(array.nbytes) as host:
            address = self._device.alloc(host.nbytes)
            self._addresses.append(address)
            host[: array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            self._device.h2d(address, host)()
            self._device.synchronise()
        return address

    def get(self, address: int, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> Array:
        """Copy an array back, after all that was enqueued."""
        array = np.empty(shape, dtype)
        with self._reporting(), self._staging(array.nbytes) as host:
            self._device.d2h(host, address)()
            self._device.synchronise()
            array.reshape(-1).view(np.uint8)[...] = host[: array.nbytes]
        return array

    def times_ms(self, call: Callable[[], None], runs: int) -> list[float]:
        """What each of the calls took on the device."""
        with self._reporting():
            return self._device.times_ms(call, runs)

    def close(self) -> None:
        """Give memory and context back."""
        try:
            while self._addresses:
                self._device.free(self._addresses.pop())
        except self._device.Error:
            self._addresses.clear()  # after a sticky error the context takes them along
        self._device.close()

    @contextmanager
    def _staging(self, size: int) -> Iterator[Array]:
        host, _ = self._device.pinned(max(size, 1))
        try:
            yield host
        finally:
            self._device.unpin(host)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except self._device.Error as error:
            raise reported(error) from error
