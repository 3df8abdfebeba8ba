"""Run edgekit's kernels on a CPU, from NumPy arrays: the same kernel source, one fiber for each CUDA thread.

It proves numbers, bounds and barriers, and nothing about time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
        return reference.LSTMOutputs(*self._run(op))

    def gru(self, op: reference.GRU) -> reference.Outputs:
        """Run EdgekitGRU, likewise."""
        return reference.Outputs(*self._run(op))

    def rnn(self, op: reference.RNN) -> reference.Outputs:
        """Run EdgekitRNN, likewise."""
        return reference.Outputs(*self._run(op))

    def _run(self, op: reference.Recurrent) -> list[Array]:
        with self.memory() as memory:
            placed = self.place(op, memory)
            placed.launch()
            return placed.outputs()

    def place(self, op: reference.Recurrent, memory: DeviceMemory) -> PlacedRecurrent:
        """Copy a problem to the device, to be launched as often as one likes."""
        problem = _problem_of(op, memory)
        steps, batch, directions, hidden = op.shape
        state = (directions, batch, hidden)
        shapes = {"y": (steps, *state), "h_n": state, "c_n": state}
        outputs = {name: shape for name, shape in shapes.items() if hasattr(problem, name)}
        for name, shape in outputs.items():
            setattr(problem, name, memory.empty(*shape))
        workspace = memory.allocate(self.plan(problem, self.chosen).workspace)
        return PlacedRecurrent(
            lambda stream=None: self.launch(problem, self.chosen, workspace, stream),
            lambda: [memory.get(getattr(problem, name), shape) for name, shape in outputs.items()],
        )

    @contextmanager
    def memory(self) -> Iterator[DeviceMemory]:
        """Device memory that is freed at the end."""
        memory = DeviceMemory(self.handle)
        try:
            yield memory
        finally:
            memory.free()


@dataclass(frozen=True)
class PlacedRecurrent:
    """A problem on a device: `launch(stream)` enqueues it, `outputs()` copies back y and the last states."""

    launch: Callable[..., None]
    outputs: Callable[[], list[Array]]


def _problem_of(op: reference.Recurrent, memory: DeviceMemory) -> abi.Recurrent:
    """The ABI's problem with its inputs on the device."""
    steps, batch, _, hidden = op.shape
    common: dict[str, Any] = {
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
    if isinstance(op, reference.LSTM):
        return abi.LSTM(**common, c0=memory.put(op.c0, np.float32))
    if isinstance(op, reference.GRU):
        rb_h = memory.put(op.rb_h, np.float32)
        return abi.GRU(**common, linear_before_reset=op.linear_before_reset, rb_h=rb_h)
    assert isinstance(op, reference.RNN)
    return abi.RNN(**common, activation=reference.ACTIVATIONS.index(op.activation))


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
            self.write(address, dense)
        return address

    def empty(self, *shape: int) -> int | None:
        """FP32, all NaN."""
        return self.allocate(4 * int(np.prod(shape)))

    def get(self, address: int | None, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> Array:
        array = np.empty(shape, dtype)
        if address is not None:
            self.read(address, array)
        return array

    def write(self, address: int, dense: Array) -> None:
        ctypes.memmove(address, dense.ctypes.data, dense.nbytes)

    def read(self, address: int, dense: Array) -> None:
        ctypes.memmove(dense.ctypes.data, address, dense.nbytes)

    def free(self) -> None:
        for address in self._addresses:
            self._handle.ek_emu_free(address)
