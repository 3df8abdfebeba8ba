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
        """Run EdgekitLSTM; states and xproj become FP32, `r` has the type of the weights. Raises as `launch` does."""
        with self.memory() as memory:
            problem = abi.LSTM(**_fields(op, memory), c0=memory.put(op.c0, np.float32))
            return reference.LSTMOutputs(*self._run(problem, op, memory, ("y", "h_n", "c_n")))

    def gru(self, op: reference.GRU) -> reference.Outputs:
        """Run EdgekitGRU, likewise."""
        with self.memory() as memory:
            problem = abi.GRU(**_fields(op, memory), linear_before_reset=op.linear_before_reset,
                              rb_h=memory.put(op.rb_h, np.float32))  # fmt: skip
            return reference.Outputs(*self._run(problem, op, memory, ("y", "h_n")))

    def rnn(self, op: reference.RNN) -> reference.Outputs:
        """Run EdgekitRNN, likewise."""
        with self.memory() as memory:
            problem = abi.RNN(**_fields(op, memory), activation=reference.ACTIVATIONS.index(op.activation))
            return reference.Outputs(*self._run(problem, op, memory, ("y", "h_n")))

    def _run(
        self, problem: abi.Recurrent, op: reference.Recurrent, memory: DeviceMemory, outputs: tuple[str, ...]
    ) -> list[Array]:
        steps, batch, directions, hidden = op.shape
        state = (directions, batch, hidden)
        shapes = [(steps, *state), state, state][: len(outputs)]
        addresses = [memory.empty(*shape) for shape in shapes]
        for name, address in zip(outputs, addresses, strict=True):
            setattr(problem, name, address)
        workspace = memory.allocate(self.plan(problem, self.chosen).workspace)
        self.launch(problem, self.chosen, workspace)
        return [memory.get(*pair) for pair in zip(addresses, shapes, strict=True)]

    @contextmanager
    def memory(self) -> Iterator[DeviceMemory]:
        """Device memory that is freed at the end."""
        memory = DeviceMemory(self.handle)
        try:
            yield memory
        finally:
            memory.free()


def _fields(op: reference.Recurrent, memory: DeviceMemory) -> dict[str, Any]:
    """What the three problems have in common."""
    steps, batch, _, hidden = op.shape
    return {
        "steps": steps,
        "batch": batch,
        "hidden": hidden,
        "direction": reference.DIRECTIONS.index(op.direction),
        "weights": _TYPES[op.r.dtype],
        "clip": op.clip,
        "xproj": memory.put(op.xproj, np.float32),
        "r": memory.put(op.r, op.r.dtype),
        "r_scale": memory.put(op.r_scale, np.float32),
        "lengths": memory.put(op.lengths, np.int32),
        "h0": memory.put(op.h0, np.float32),
    }


class DeviceMemory:
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

    def get(self, address: int | None, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> Array:
        array = np.empty(shape, dtype)
        if address is not None:
            ctypes.memmove(array.ctypes.data, address, array.nbytes)
        return array

    def free(self) -> None:
        for address in self._addresses:
            self._handle.ek_emu_free(address)
