"""This machine's GPU, as `bench` needs it: pycuda's memory under NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.runtime.memory import CudaMemory

Array = npt.NDArray[Any]


class CudaGpu:
    """The first CUDA device; all its memory is given back by `close`. Raises TargetError where there is none."""

    def __init__(self) -> None:
        self._memory = CudaMemory()
        self.name, self.stream = self._memory.device, self._memory.stream_handle
        self._allocations: dict[int, Any] = {}

    def put(self, array: Array) -> int:
        """Copy an array to the device and return its address."""
        host, device = self._memory.buffers(array.shape, array.dtype.str)
        host[...] = array
        self._memory.to_device(device, host)
        self._wait()
        self._allocations[int(device)] = device
        return int(device)

    def get(self, address: int, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> Array:
        """Copy an array back, after all that was enqueued."""
        host = np.empty(shape, dtype)
        self._memory.to_host(host, self._allocations[address])
        self._wait()
        return host

    def times_ms(self, call: Callable[[], None], runs: int) -> list[float]:
        """What each of the calls took on the device."""
        return self._memory.times_ms(call, runs)

    def close(self) -> None:
        """Give memory and context back."""
        self._allocations.clear()
        self._memory.close()

    def _wait(self) -> None:
        self._memory.mark()
        self._memory.synchronise(None)
