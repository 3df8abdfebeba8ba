"""The kernels' library on this machine's GPU, with the interface of the emulator: memory is torch's."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.plugins import abi
from edgekit.plugins.emulator import Emulator

Array = npt.NDArray[Any]


class OnGpu(Emulator):
    """What runs on an Emulator runs on this, on torch's device and the default stream."""

    def __init__(self, path: Path) -> None:
        abi.Library.__init__(self, path)
        self.chosen = self.current_device()

    @contextmanager
    def memory(self) -> Iterator[Any]:
        """Device memory until the end; torch gives it back."""
        yield TorchMemory()


class TorchMemory:
    """As emulator.DeviceMemory; what no kernel has written is NaN."""

    def __init__(self) -> None:
        import torch

        self._torch = torch
        self._blocks: dict[int, Any] = {}

    def allocate(self, size: int) -> int | None:
        """The address of so many bytes, all 0xff."""
        if size == 0:
            return None
        block = self._torch.full((size,), 0xFF, dtype=self._torch.uint8, device="cuda")
        self._blocks[block.data_ptr()] = block
        return int(block.data_ptr())

    def put(self, array: Array | None, dtype: npt.DTypeLike) -> int | None:
        """The address of a copy."""
        if array is None:
            return None
        dense = np.ascontiguousarray(array, dtype)
        address = self.allocate(dense.nbytes)
        if address is not None:
            self._blocks[address].copy_(self._torch.from_numpy(dense.reshape(-1).view(np.uint8)))
        return address

    def empty(self, *shape: int) -> int | None:
        """FP32, all NaN."""
        return self.allocate(4 * int(np.prod(shape)))

    def get(self, address: int | None, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> Array:
        """A copy, after all that was enqueued."""
        if address is None:
            return np.empty(shape, dtype)
        found: Array = self._blocks[address].cpu().numpy().view(dtype).reshape(shape)
        return found


def median_ms(call: Callable[[], object], runs: int = 200) -> float:
    """What a call takes on torch's current stream, once it is warm."""
    import torch

    events = [torch.cuda.Event(enable_timing=True) for _ in range(runs + 1)]
    for _ in range(20):
        call()
    events[0].record()
    for event in events[1:]:
        call()
        event.record()
    torch.cuda.synchronize()
    return statistics.median(a.elapsed_time(b) for a, b in itertools.pairwise(events))
