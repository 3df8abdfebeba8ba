"""The C ABI of plugins/include/edgekit_kernels.h through ctypes: structs, and a library that speaks it."""

from __future__ import annotations

import ctypes
from pathlib import Path

from edgekit.errors import BuildError, EdgekitError

# EK_VERSION: grows with every change of the header.
VERSION = 1
OK, UNSUPPORTED, INVALID, FAILED = range(4)
FLOAT32, FLOAT16, INT8 = range(3)


class Device(ctypes.Structure):
    """ek_device: what a kernel has to fit into; shared memory in bytes."""

    _fields_ = tuple(
        (name, ctypes.c_int)
        for name in (
            *("sm", "multiprocessors", "shared_per_block", "shared_per_multiprocessor"),
            *("threads_per_multiprocessor", "blocks_per_multiprocessor"),
        )
    )


class LSTM(ctypes.Structure):
    """ek_lstm: one problem; pointers are addresses on the device, None where there is nothing."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("steps", "batch", "hidden", "direction", "weights")),
        ("clip", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("xproj", "r", "r_scale", "lengths", "h0", "c0", "y", "h_n", "c_n")),
    )


class Plan(ctypes.Structure):
    """ek_plan: what will run. `form` is 0 for one block a group, weights in registers, 1 for several blocks."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("form", "groups", "groups_at_once", "blocks_per_group")),
        *((name, ctypes.c_int) for name in ("threads_per_block", "shared_per_block", "launches")),
        ("workspace", ctypes.c_size_t),
    )


class Unsupported(EdgekitError):
    """The device cannot run this problem; the text says why."""


class Library:
    """A library of edgekit's kernels, for a GPU or for the emulator.

    Raises BuildError for a file that does not load, lacks a function, or speaks another version of the ABI.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.handle = ctypes.CDLL(str(path))
            self._declare()
            found = self.handle.ek_version()
        except (OSError, AttributeError) as error:
            raise BuildError(
                f"expected edgekit's kernels in {path}, found: {error}", "edgekit plugins build"
            ) from error
        if found != VERSION:
            raise BuildError(f"expected version {VERSION} of the kernels' ABI in {path}, found {found}",
                             "edgekit plugins build")  # fmt: skip

    def _declare(self) -> None:
        problem, device = ctypes.POINTER(LSTM), ctypes.POINTER(Device)
        self.handle.ek_last_error.restype = ctypes.c_char_p
        self.handle.ek_device_limits.argtypes = (ctypes.c_int, ctypes.c_int, device)
        self.handle.ek_device_current.argtypes = (device,)
        self.handle.ek_lstm_plan.argtypes = (problem, device, ctypes.POINTER(Plan))
        self.handle.ek_lstm_supported.argtypes = (problem, device, ctypes.c_char_p, ctypes.c_size_t)
        self.handle.ek_lstm_workspace.argtypes = (problem, device)
        self.handle.ek_lstm_workspace.restype = ctypes.c_size_t
        self.handle.ek_lstm_launch.argtypes = (problem, device, ctypes.c_void_p, ctypes.c_void_p)

    def device(self, sm: int, multiprocessors: int) -> Device:
        """The limits of an SM (87 is 8.7) with so many multiprocessors. Raises EdgekitError for an unknown SM."""
        device = Device()
        self._check(self.handle.ek_device_limits(sm, multiprocessors, device))
        return device

    def current_device(self) -> Device:
        """The GPU that launches of this thread go to. Raises EdgekitError without one, and in the emulator."""
        device = Device()
        self._check(self.handle.ek_device_current(device))
        return device

    def lstm_plan(self, problem: LSTM, device: Device) -> Plan:
        """What will run. Raises Unsupported, with why not, or EdgekitError for a malformed problem."""
        plan = Plan()
        self._check(self.handle.ek_lstm_plan(problem, device, plan))
        return plan

    def lstm_supported(self, problem: LSTM, device: Device) -> str:
        """Why the device cannot run the problem; empty when it can."""
        reason = ctypes.create_string_buffer(400)
        self.handle.ek_lstm_supported(problem, device, reason, len(reason))
        return reason.value.decode()

    def lstm_launch(self, problem: LSTM, device: Device, workspace: int | None, stream: int | None = None) -> None:
        """Enqueue on a CUDA stream; `workspace` is the address of `lstm_plan(…).workspace` bytes. Raises as `lstm_plan`
        does, and EdgekitError with what CUDA, or the emulator, said."""
        self._check(self.handle.ek_lstm_launch(problem, device, workspace, stream))

    def _check(self, status: int) -> None:
        if status != OK:
            said = self.handle.ek_last_error().decode()
            raise (Unsupported if status == UNSUPPORTED else EdgekitError)(said)
