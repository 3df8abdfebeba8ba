"""Time the kernels on a GPU beside what they cannot go below; without a GPU, what would run, and "not run"."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgekit import reference
from edgekit.device import find_gpus
from edgekit.errors import BuildError, EdgekitError, TargetError, UsageError
from edgekit.plugins import abi
from edgekit.plugins.bounds import Bound, lstm_bound
from edgekit.plugins.building import Workshop, find_library
from edgekit.plugins.gpu import CudaGpu
from edgekit.reports import Progress, no_progress

Array = npt.NDArray[Any]

# (title, steps, batch, hidden, weights): from a wake-up word, and a detector of speech step by step, to an encoder.
PROBLEMS = (
    ("one row, 64 units", 100, 1, 64, abi.FLOAT16),
    ("one step, 128 units", 1, 1, 128, abi.FLOAT16),
    ("eight rows, 128 units", 160, 8, 128, abi.FLOAT16),
    ("eight rows, 128 units", 160, 8, 128, abi.INT8),
    ("one row, 256 units", 160, 1, 256, abi.FLOAT16),
    ("one row, 256 units", 160, 1, 256, abi.INT8),
    ("one row, 512 units", 160, 1, 512, abi.INT8),
    ("one row, 128 units", 160, 1, 128, abi.FLOAT32),
)
TYPES = {abi.FLOAT32: "FP32", abi.FLOAT16: "FP16", abi.INT8: "INT8"}
_RUNS, _WARM_UP = 100, 10
# Beyond this the kernel is wrong, and its time means nothing.
_MOST_ERROR = {abi.FLOAT32: 1e-5, abi.FLOAT16: 5e-3, abi.INT8: 5e-3}


class Gpu(Protocol):
    """What timing needs of a device: memory with contents, and the milliseconds of calls on one stream."""

    name: str
    stream: int

    def put(self, array: Array) -> int:
        """Copy an array to the device and return its address."""

    def get(self, address: int, shape: tuple[int, ...]) -> Array:
        """Copy an FP32 array back, after all that was enqueued."""

    def times_ms(self, call: Callable[[], None], runs: int) -> list[float]:
        """What each of the calls took on the device."""


@dataclass(frozen=True)
class Row:
    """One problem on one device: how it runs, its bound, and what was measured; None: not run.

    `refused` says why the device cannot run it, and is empty when it can.
    """

    title: str
    weights: str
    steps: int
    refused: str
    form: str
    bound: Bound | None
    p50_ms: float | None = None
    p99_ms: float | None = None

    def __str__(self) -> str:
        head = f"LSTM, {self.title}, {self.weights}, {self.steps} steps: "
        if self.bound is None:
            return head + self.refused
        took = "not run" if self.p50_ms is None else f"p50 {self.p50_ms:.4f} ms, p99 {self.p99_ms:.4f} ms"
        bound = self.bound
        return f"{head}{took}; {self.form}; bound: {bound.bytes} bytes, {bound.flop} flop, {bound.cycles} cycles"


def bench(device: str | None, progress: Progress = no_progress, workshop: Workshop | None = None) -> Iterator[Row]:
    """PROBLEMS on this machine's GPU, or with `device`, such as "87:16", what would run on one.

    Raises TargetError without a GPU, BuildError while nothing is built, UsageError for a malformed device.
    """
    if device is not None:
        library = _library(("plugins", "emulator"), workshop)
        yield from rows(library, _described(library, device), progress=progress)
        return
    if not (search := find_gpus()).gpus:
        raise TargetError(f"expected a GPU to measure on, found none: {search.reason}",
                          "edgekit plugins bench --device 87:16 for what would run")  # fmt: skip
    library, gpu = _library(("plugins",), workshop), CudaGpu()
    try:
        yield from rows(library, library.current_device(), gpu, progress)
    finally:
        gpu.close()


def _library(kinds: tuple[str, ...], workshop: Workshop | None) -> abi.Library:
    for kind in kinds:
        if path := find_library(kind, workshop):
            return abi.Library(path)
    raise BuildError("expected a library of these sources, found none", "edgekit plugins build")


def _described(library: abi.Library, device: str) -> abi.Device:
    sm, _, multiprocessors = device.partition(":")
    if not (sm.isdigit() and multiprocessors.isdigit()):
        raise UsageError(f"expected --device SM:MULTIPROCESSORS, found {device!r}", "--device 87:16 for an AGX Orin")
    return library.device(int(sm), int(multiprocessors))


def rows(
    library: abi.Library, device: abi.Device, gpu: Gpu | None = None, progress: Progress = no_progress
) -> Iterator[Row]:
    """Each of PROBLEMS on a device; measured on `gpu`, which then is that device. Raises EdgekitError when what a
    kernel computed there is wrong."""
    for number, (title, steps, batch, hidden, weights) in enumerate(PROBLEMS):
        progress(f"LSTM, {title}", number, len(PROBLEMS))
        problem = abi.LSTM(steps=steps, batch=batch, hidden=hidden, weights=weights)
        refused = library.lstm_supported(problem, device)
        if refused:
            yield Row(title, TYPES[weights], steps, refused, "", None)
            continue
        plan = library.lstm_plan(problem, device)
        p50, p99 = _measured(library, device, problem, gpu) if gpu else (None, None)
        yield Row(title, TYPES[weights], steps, "", form_of(plan), lstm_bound(problem, plan), p50, p99)


def form_of(plan: abi.Plan) -> str:
    """A plan in words."""
    blocks = "one block a group" if plan.form == 0 else f"{plan.blocks_per_group} blocks a group"
    launches = f", {plan.launches} launches" if plan.launches > 1 else ""
    return f"{blocks} of {plan.threads_per_block} threads{launches}"


def _measured(library: abi.Library, device: abi.Device, problem: abi.LSTM, gpu: Gpu) -> tuple[float, float]:
    """p50 and p99 in milliseconds, once the numbers are right."""
    op = _seeded(problem)
    steps, batch, directions, hidden = op.shape
    shape = (steps, directions, batch, hidden)
    placed = abi.LSTM.from_buffer_copy(problem)
    placed.xproj, placed.r = gpu.put(op.xproj), gpu.put(op.r)
    placed.r_scale = None if op.r_scale is None else gpu.put(op.r_scale)
    placed.y = gpu.put(np.full(shape, np.nan, np.float32))
    size = library.lstm_plan(problem, device).workspace
    workspace = gpu.put(np.zeros(size, np.uint8)) if size else None

    def call() -> None:
        library.lstm_launch(placed, device, workspace, gpu.stream)

    call()
    error = float(np.abs(gpu.get(int(placed.y), shape) - reference.lstm(op).y).max())
    if not error <= _MOST_ERROR[problem.weights]:
        raise EdgekitError(
            f"expected the LSTM of {hidden} units in {TYPES[problem.weights]} as it is defined, to "
            f"{_MOST_ERROR[problem.weights]:g}, found it {error:g} away on {gpu.name}",
            "edgekit plugins test, and a report of this line",
        )
    times = sorted(gpu.times_ms(call, _WARM_UP + _RUNS)[_WARM_UP:])
    return statistics.median(times), times[int(0.99 * len(times))]


def _seeded(problem: abi.LSTM) -> reference.LSTM:
    """Numbers as a trained network has them, always the same."""
    random = np.random.default_rng(0)
    r = random.normal(size=(1, 4 * problem.hidden, problem.hidden)) / np.sqrt(problem.hidden)
    scale = np.abs(r).max(axis=2) / 127 if problem.weights == abi.INT8 else None
    dtype = {abi.FLOAT32: np.float32, abi.FLOAT16: np.float16, abi.INT8: np.int8}[problem.weights]
    return reference.LSTM(
        xproj=random.normal(size=(problem.steps, problem.batch, 1, 4 * problem.hidden)).astype(np.float32),
        r=(r if scale is None else np.round(r / scale[..., None])).astype(dtype),
        r_scale=None if scale is None else scale.astype(np.float32),
    )
