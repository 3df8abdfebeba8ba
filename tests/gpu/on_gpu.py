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
import pytest

from edgekit.plugins import abi
from edgekit.plugins.building import Workshop, build_plugins
from edgekit.plugins.emulator import DeviceMemory, Emulator

torch = pytest.importorskip("torch")

Array = npt.NDArray[Any]


class OnGpu(Emulator):
    """What runs on an Emulator runs on this, on torch's device and the default stream."""

    def __init__(self, path: Path) -> None:
        abi.Library.__init__(self, path)
        self.chosen = self.current_device()

    @contextmanager
    def memory(self) -> Iterator[DeviceMemory]:
        """Device memory until the end; torch gives it back."""
        yield TorchMemory()


class TorchMemory(DeviceMemory):
    """What no kernel has written is NaN."""

    def __init__(self) -> None:
        self._blocks: dict[int, Any] = {}

    def allocate(self, size: int) -> int | None:
        """The address of so many bytes, all 0xff."""
        if size == 0:
            return None
        block = torch.full((size,), 0xFF, dtype=torch.uint8, device="cuda")
        self._blocks[block.data_ptr()] = block
        return int(block.data_ptr())

    def write(self, address: int, dense: Array) -> None:
        self._blocks[address].copy_(torch.from_numpy(dense.reshape(-1).view(np.uint8)))

    def read(self, address: int, dense: Array) -> None:
        """After all that was enqueued."""
        dense.reshape(-1).view(np.uint8)[:] = self._blocks[address].cpu().numpy()


def library_for_this_gpu(workshop: Workshop) -> Path:
    """libedgekit_plugins.so for the architecture of torch's device."""
    major, minor = torch.cuda.get_device_capability()
    return build_plugins((10 * major + minor,), workshop=workshop)


def median_ms(call: Callable[[], object], runs: int = 200) -> float:
    """What a call takes on torch's current stream, once it is warm."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(runs + 1)]
    for _ in range(20):
        call()
    events[0].record()
    for event in events[1:]:
        call()
        event.record()
    torch.cuda.synchronize()
    return statistics.median(a.elapsed_time(b) for a, b in itertools.pairwise(events))
