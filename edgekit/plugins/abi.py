"""The C ABI of plugins/include/edgekit_kernels.h through ctypes: structs, and a library that speaks it."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, TypeAlias, overload

from edgekit.errors import BuildError, EdgekitError

# EK_VERSION: grows with every change of the header.
VERSION = 1
OK, UNSUPPORTED, INVALID, FAILED = range(4)
FLOAT32, FLOAT16, INT8, BFLOAT16 = range(4)


class Device(ctypes.Structure):
    """ek_device: what a kernel has to fit into; shared memory in bytes."""

    _fields_ = tuple(
        (name, ctypes.c_int)
        for name in (
            *("sm", "multiprocessors", "shared_per_block", "shared_per_multiprocessor"),
            *("threads_per_multiprocessor", "blocks_per_multiprocessor"),
        )
    )


_SIZES = ("steps", "batch", "hidden", "direction", "weights")
_INPUTS = ("xproj", "r", "r_scale", "lengths", "h0")


def _fields(integers: tuple[str, ...], pointers: tuple[str, ...]) -> tuple[tuple[str, Any], ...]:
    return (
        *((name, ctypes.c_int) for name in integers),
        ("clip", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in pointers),
    )


class Plan(ctypes.Structure):
    """ek_plan: what will run. `form` is 0 for one block a group, weights in registers, 1 for several blocks."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("form", "groups", "groups_at_once", "blocks_per_group")),
        *((name, ctypes.c_int) for name in ("threads_per_block", "shared_per_block", "launches")),
        ("workspace", ctypes.c_size_t),
    )


class Tiling(ctypes.Structure):
    """ek_tiling: what will run. `form` is 0 for FP32 arithmetic, 1 for tensor cores."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("form", "head", "tile_rows", "tile_keys", "tiles", "splits")),
        *((name, ctypes.c_int) for name in ("threads_per_block", "shared_per_block", "launches")),
        ("tensorrt_is_better", ctypes.c_int),
        ("workspace", ctypes.c_size_t),
    )


class LSTM(ctypes.Structure):
    """ek_lstm: one problem; pointers are addresses on the device, None where there is nothing."""

    op, plan = "lstm", Plan
    _fields_ = _fields(_SIZES, (*_INPUTS, "c0", "y", "h_n", "c_n"))


class GRU(ctypes.Structure):
    """ek_gru, likewise."""

    op, plan = "gru", Plan
    _fields_ = _fields((*_SIZES, "linear_before_reset"), (*_INPUTS, "rb_h", "y", "h_n"))


class RNN(ctypes.Structure):
    """ek_rnn, likewise; `activation` is 0 for tanh, 1 for relu."""

    op, plan = "rnn", Plan
    _fields_ = _fields((*_SIZES, "activation"), (*_INPUTS, "y", "h_n"))


class Attention(ctypes.Structure):
    """ek_attention, likewise."""

    op, plan = "attention", Tiling
    _fields_ = (
        *((name, ctypes.c_int) for name in ("batch", "heads", "kv_heads", "queries", "keys", "past", "capacity")),
        *((name, ctypes.c_int) for name in ("head_size", "value_size", "type", "bias_type", "causal", "position")),
        *((name, ctypes.c_int) for name in ("window_left", "window_right")),
        *((name, ctypes.c_float) for name in ("scale", "softcap")),
        ("bias_strides", ctypes.c_longlong * 4),
        *((name, ctypes.c_void_p) for name in ("q", "k", "v", "bias", "key_lengths", "past_length")),
        *((name, ctypes.c_void_p) for name in ("past_k", "past_v", "present_k", "present_v", "o")),
    )


Recurrent: TypeAlias = LSTM | GRU | RNN
Problem: TypeAlias = Recurrent | Attention


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
        device = ctypes.POINTER(Device)
        self.handle.ek_last_error.restype = ctypes.c_char_p
        self.handle.ek_device_limits.argtypes = (ctypes.c_int, ctypes.c_int, device)
        self.handle.ek_device_current.argtypes = (device,)
        for problem in (LSTM, GRU, RNN, Attention):
            asked = (ctypes.POINTER(problem), device)
            self._function(problem.op, "plan").argtypes = (*asked, ctypes.POINTER(problem.plan))
            self._function(problem.op, "supported").argtypes = (*asked, ctypes.c_char_p, ctypes.c_size_t)
            self._function(problem.op, "launch").argtypes = (*asked, ctypes.c_void_p, ctypes.c_void_p)

    def _function(self, op: str, name: str) -> Any:
        return getattr(self.handle, f"ek_{op}_{name}")

    def device(self, sm: int, multiprocessors: int) -> Device:
        """The limits of an SM (87 is 8.7) with so many multiprocessors. Raises EdgekitError for an unknown SM."""
        device = Device()
        self.check(self.handle.ek_device_limits(sm, multiprocessors, device))
        return device

    def current_device(self) -> Device:
        """The GPU that launches of this thread go to. Raises EdgekitError without one, and in the emulator."""
        device = Device()
        self.check(self.handle.ek_device_current(device))
        return device

    @overload
    def plan(self, problem: Recurrent, device: Device) -> Plan: ...
    @overload
    def plan(self, problem: Attention, device: Device) -> Tiling: ...
    def plan(self, problem: Problem, device: Device) -> Plan | Tiling:
        """What will run. Raises Unsupported, with why not, or EdgekitError for a malformed problem."""
        plan = problem.plan()
        self.check(self._function(problem.op, "plan")(problem, device, plan))
        return plan

    def supported(self, problem: Problem, device: Device) -> str:
        """Why the device cannot run the problem; empty when it can."""
        reason = ctypes.create_string_buffer(400)
        self._function(problem.op, "supported")(problem, device, reason, len(reason))
        return reason.value.decode()

    def launch(self, problem: Problem, device: Device, workspace: int | None, stream: int | None = None) -> None:
        """Enqueue on a CUDA stream; `workspace` is the address of `plan(…).workspace` bytes. Raises as `plan` does, and
        EdgekitError with what CUDA, or the emulator, said."""
        self.check(self._function(problem.op, "launch")(problem, device, workspace, stream))

    def check(self, status: int) -> None:
        """Raise what the last call said unless it went well."""
        if status != OK:
            said = self.handle.ek_last_error().decode()
            raise (Unsupported if status == UNSUPPORTED else EdgekitError)(said)
