"""Run edgekit's kernels on a CPU, from NumPy arrays: the same kernel source, one fiber for each CUDA thread.

It proves numbers, bounds and barriers, and nothing about time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit import reference
from edgekit.plugins import abi

Array = npt.NDArray[Any]
SCHEDULES = ("forward", "reverse", "random")
_TYPES = {np.dtype(np.float32): abi.FLOAT32, np.dtype(np.float16): abi.FLOAT16, np.dtype(np.int8): abi.INT8}


class Emulator(abi.Library):
    """libedgekit_emu.so: the kernels' ABI, and a device that is chosen here.

    Arrays are copied into memory of exactly their size: a kernel that reads or writes beside it is stopped, and what it
    does not write stays NaN.
    """

    def __init__(self, path: Path, sm: int = 87, multiprocessors: int = 16) -> None:
        super().__init__(path)
        self.handle.ek_emu_alloc.argtypes = (ctypes.c_size_t,)
        self.handle.ek_emu_alloc.restype = ctypes.c_void_p
        self.handle.ek_emu_free.argtypes = (ctypes.c_void_p,)
        self.choose(sm, multiprocessors)
        self.schedule("forward")

    def choose(self, sm: int, multiprocessors: int) -> None:
        """The device to emulate: 75 takes the ways around what SM 8.0 has brought."""
        self.chosen = self.device(sm, multiprocessors)
        self.handle.ek_emu_sm(sm)

    def schedule(self, kind: str, seed: int = 0) -> None:
        """In which order threads run: one of SCHEDULES."""
        self.handle.ek_emu_schedule(SCHEDULES.index(kind), seed)

    def lstm(self, op: reference.LSTM) -> reference.LSTMOutputs:
        """Run EdgekitLSTM; xproj, h0 and c0 become FP32, `r` has the type of the weights. Raises as `lstm_launch`."""
        steps, batch, directions, hidden = op.shape
        with self._memory() as memory:
            outputs = [
                memory.empty(steps, directions, batch, hidden),
                memory.empty(directions, batch, hidden),
                memory.empty(directions, batch, hidden),
            ]
            problem = abi.LSTM(
                steps, batch, hidden, reference.DIRECTIONS.index(op.direction), _TYPES[op.r.dtype], op.clip,
                memory.put(op.xproj, np.float32), memory.put(op.r, op.r.dtype), memory.put(op.r_scale, np.float32),
                memory.put(op.lengths, np.int32), memory.put(op.h0, np.float32), memory.put(op.c0, np.float32),
                *outputs,
            )  # fmt: skip
            workspace = memory.allocate(self.lstm_plan(problem, self.chosen).workspace)
            self.lstm_launch(problem, self.chosen, workspace)
            shapes = ((steps, directions, batch, hidden), (directions, batch, hidden), (directions, batch, hidden))
            return reference.LSTMOutputs(*(memory.get(*pair) for pair in zip(outputs, shapes, strict=True)))

    @contextmanager
    def _memory(self) -> Iterator[_Memory]:
        memory = _Memory(self.handle)
        try:
            yield memory
        finally:
            memory.free()


class _Memory:
    """Device memory of one launch, each array between two guard pages."""

    def __init__(self, handle: ctypes.CDLL) -> None:
        self._handle = handle
        self._addresses: list[int] = []

    def allocate(self, size: int) -> int | None:
        if size == 0:
            return None
        address: int = self._handle.ek_emu_alloc(size)
        self._addresses.append(address)
        return address

    def put(self, array: Array | None, dtype: npt.DTypeLike) -> int | None:
        if array is None:
            return None
        dense = np.ascontiguousarray(array, dtype)
        address = self.allocate(dense.nbytes)
        if address is not None:
            ctypes.memmove(address, dense.ctypes.data, dense.nbytes)
        return address

    def empty(self, *shape: int) -> int | None:
        """FP32, all NaN."""
        return self.allocate(4 * int(np.prod(shape)))

    def get(self, address: int | None, shape: tuple[int, ...]) -> Array:
        array = np.empty(shape, np.float32)
        if address is not None:
            ctypes.memmove(array.ctypes.data, address, array.nbytes)
        return array

    def free(self) -> None:
        for address in self._addresses:
            self._handle.ek_emu_free(address)
