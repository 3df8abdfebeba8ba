"""Time the kernels on a GPU beside what they cannot go below; without a GPU, what would run, and "not run"."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgekit.device import find_gpus
from edgekit.errors import BuildError, EdgekitError, TargetError, UsageError
from edgekit.plugins import abi
from edgekit.plugins.bench_cases import CASES, Array, Case, Memory
from edgekit.plugins.bounds import Bound
from edgekit.plugins.building import Workshop, find_library
from edgekit.plugins.gpu import CudaGpu
from edgekit.reports import Progress, no_progress

_RUNS, _WARM_UP = 100, 10


class Gpu(Memory, Protocol):
    """What timing needs of a device: memory with contents, and the milliseconds of calls on one stream."""

    name: str
    stream: int

    def get(self, address: int, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Copy an array back, after all that was enqueued."""

    def times_ms(self, call: Callable[[], None], runs: int) -> list[float]:
        """What each of the calls took on the device."""


@dataclass(frozen=True)
class Row:
    """One problem on one device: how it runs, its bound, and what was measured; None: not run.

    `refused` says why the device cannot run it, and is empty when it can.
    """

    title: str
    refused: str
    form: str
    bound: Bound | None
    p50_ms: float | None = None
    p99_ms: float | None = None

    def __str__(self) -> str:
        if self.bound is None:
            return f"{self.title}: {self.refused}"
        took = "not run" if self.p50_ms is None else f"p50 {self.p50_ms:.4f} ms, p99 {self.p99_ms:.4f} ms"
        return f"{self.title}: {took}; {self.form}; bound: {self.bound}"


def bench(device: str | None, progress: Progress = no_progress, workshop: Workshop | None = None) -> Iterator[Row]:
    """CASES on this machine's GPU, or with `device`, such as "87:16", what would run on one.

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
    given = re.fullmatch("([0-9]{1,9}):([0-9]{1,9})", device)  # more digits do not fit the library's int
    if given is None:
        raise UsageError(f"expected --device SM:MULTIPROCESSORS, found {device!r}", "--device 87:16 for an AGX Orin")
    return library.device(*map(int, given.groups()))


def rows(
    library: abi.Library, device: abi.Device, gpu: Gpu | None = None, progress: Progress = no_progress
) -> Iterator[Row]:
    """Each of CASES on a device; measured on `gpu`, which then is that device. Raises EdgekitError when what a kernel
    computed there is wrong."""
    for number, case in enumerate(CASES):
        progress(case.title, number, len(CASES))
        if refused := case.refused(library, device):
            yield Row(case.title, refused, "", None)
            continue
        form, bound = case.plan(library, device)
        p50, p99 = _measured(case, library, device, gpu) if gpu else (None, None)
        yield Row(case.title, "", form, bound, p50, p99)


def _measured(case: Case, library: abi.Library, device: abi.Device, gpu: Gpu) -> tuple[float, float]:
    """p50 and p99 in milliseconds, once the numbers are right."""
    placed = case.place(library, device, gpu)
    placed.launch(gpu.stream)
    found = gpu.get(placed.address, placed.wanted.shape, placed.dtype)
    error = float(np.abs(found - placed.wanted).max())
    if not error <= case.most_error:
        raise EdgekitError(
            f"expected {case.title} as defined, to {case.most_error:g}, found it {error:g} away on {gpu.name}",
            "edgekit plugins test, and a report of this line",
        )
    times = sorted(gpu.times_ms(lambda: placed.launch(gpu.stream), _WARM_UP + _RUNS)[_WARM_UP:])
    return statistics.median(times), times[int(0.99 * len(times))]
