"""What no inference on a device can go below, beside what was measured: a time below it is a wrong measurement.

A roofline (S. Williams et al., "Roofline", 2009) of lower bounds: edgekit/rewrite/traffic.py says what a model has to
do, edgekit/targets/devices.toml what a device can at most, each value with its source. Without it there is no bound.

1. Memory: the bytes over the bandwidth, less what its caches can hold: of what is read, from the request before, and of
   what is written, until after this one.
2. Compute: the least arithmetic over the peak of the fastest products that the model allows, dense; edgekit builds no
   engine that skips zeros. A graphics card clocks higher than its data sheet says: its driver tells how high.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekit.budget import FAKE_DEVICE
from edgekit.device.modules import find_module
from edgekit.latency.doubts import Doubt
from edgekit.latency.nvidia_smi import GpuState
from edgekit.rewrite.traffic import ModelWork
from edgekit.targets import DEVICES, Device, device

# The values of data sheets are rounded; a time is below a bound only when it is by more than that.
_ROUNDED = 0.01
_MAKER = re.compile(r"^(NVIDIA )?(Tesla )?| \d+ ?GB$")
_JETSON_GPUS = ("Orin", "Thor")


@dataclass(frozen=True)
class Bound:
    """The least milliseconds for arithmetic and for memory, None where they are not known; `by` is what takes longer.

    `source` tells the value of the device that decides, and where it is from; else why there is no bound.
    """

    compute_ms: float | None
    memory_ms: float | None
    source: str

    @property
    def bound_ms(self) -> float | None:
        """The longer of the two: they may overlap."""
        return max((value for value in (self.compute_ms, self.memory_ms) if value is not None), default=None)

    @property
    def by(self) -> str | None:
        """`memory`, `compute` or None."""
        if self.bound_ms is None:
            return None
        return "memory" if self.bound_ms == self.memory_ms else "compute"


@dataclass(frozen=True)
class Achieved:
    """The work over the median time, in 10^9 a second: FLOP by the formulas, and the bytes that moved at least."""

    gflops_per_s: float
    gb_per_s: float


@dataclass(frozen=True)
class Floor:
    """The work of a request, what came of it, and the bound beside the times of stage `compute`, in ms.

    `device` is its title where it is known; `measured_ms` the median, `least_ms` the fastest request, `share` the part
    of the median that the bound is.
    """

    work: ModelWork
    achieved: Achieved
    measured_ms: float
    least_ms: float
    compute_ms: float | None
    memory_ms: float | None
    bound_ms: float | None
    by: str | None
    device: str | None
    source: str
    share: float | None

    def doubts(self) -> tuple[Doubt, ...]:
        """That a request took less time than one can."""
        if self.bound_ms is None or self.least_ms >= (1 - _ROUNDED) * self.bound_ms:
            return ()
        cannot = f"{self.device} cannot below {self.bound_ms:.3g} ms ({self.by}: {self.source})"
        text = f"the measurement is wrong: a request was computed in {self.least_ms:.3g} ms, and {cannot}"
        return (Doubt("below-bound", text),)

    def lines(self) -> tuple[str, str]:
        """Two lines for a person."""
        work, rates = self.work, self.achieved
        unsized = f"; not counted: {', '.join(work.unsized)}" if work.unsized else ""
        done = f"{rates.gflops_per_s:.3g} GFLOP/s, {rates.gb_per_s:.3g} GB/s"
        first = f"work: {work.total_flops / 1e6:.4g} MFLOP, at least {work.bytes / 1e6:.3g} MB; {done}{unsized}"
        if not self.bound_ms or self.share is None:
            return first, f"  bound: {self.source}"
        told = f"bound {self.bound_ms:.3g} ms ({self.by}: {self.source})"
        return first, f"  {told}; measured {self.measured_ms:.3g} ms, the bound is {self.share:.0%} of it"


def known_device(name: str, root: Path = Path("/")) -> Device | None:
    """The device of devices.toml that the CUDA driver calls `name`; None for others. `root` is where /proc is read.

    A card by its whole name, so that a laptop's is not taken for a desktop's; the GPU of a Jetson by its module.
    """
    if FAKE_DEVICE in name:
        return None
    short = _MAKER.sub("", name)
    for item in map(device, DEVICES):
        if not _is_jetson(item) and _MAKER.sub("", item.title) == short:
            return item
    module = find_module(root) if any(gpu in name for gpu in _JETSON_GPUS) else None
    return device(module.device) if module is not None and module.device is not None else None


def bound_of(work: ModelWork, on: Device, gpus: Iterable[GpuState] = ()) -> Bound:
    """The bound of one request on this device; `gpus` are what the driver tells of those in the machine."""
    memory_ms = compute_ms = None
    told: dict[float, str] = {}
    if on.bandwidth_gb_s is not None and on.cache_mb is not None:
        read, written = work.weight_bytes + work.input_bytes, work.output_bytes
        moved = sum(max(0.0, part - 1e6 * on.cache_mb) for part in (read, written))
        memory_ms = moved / on.bandwidth_gb_s / 1e6
        told[memory_ms] = f"{on.bandwidth_gb_s:g} GB/s, {on.sources['bandwidth_gb_s']}"
    key = {"fp16": "fp16_tflops", "int8": "int8_tops"}.get(work.fastest, "")
    peak, clock = getattr(on, key, None), _clock_ratio(on, gpus)
    if peak is not None and clock is not None:
        compute_ms = work.least_flops / (peak * clock) / 1e9
        told.setdefault(compute_ms, f"{peak * clock:.4g} TFLOP/s in {work.fastest}, {on.sources[key]}")
    if not told:
        return Bound(None, None, f"not known for {on.title}: its rates, caches or clocks are not")
    if not max(told):
        return Bound(
            compute_ms, memory_ms, f"none that is known: all that has to move fits into the caches of {on.title}"
        )
    return Bound(compute_ms, memory_ms, told[max(told)])


def floor_of(
    work: ModelWork,
    times_ms: npt.NDArray[np.float64],
    backend: str,
    name: str,
    on: Device | None,
    gpus: Iterable[GpuState],
) -> Floor:
    """The floor beside `times_ms` [requests], of which there is one; `name` is what the backend calls its device."""
    measured_ms, least_ms = (float(np.quantile(times_ms, q, method="inverted_cdf")) for q in (0.5, 0.0))
    if on is not None and backend != "ort":
        bound = bound_of(work, on, gpus)
    else:
        bound = Bound(None, None, "not known for a CPU" if backend == "ort" else f"not known for {name}")
    return Floor(
        work=work,
        achieved=Achieved(work.total_flops / measured_ms / 1e6, work.bytes / measured_ms / 1e6),
        measured_ms=measured_ms,
        least_ms=least_ms,
        compute_ms=bound.compute_ms,
        memory_ms=bound.memory_ms,
        bound_ms=bound.bound_ms,
        by=bound.by,
        device=on.title if on is not None and backend != "ort" else None,
        source=bound.source,
        share=None if bound.bound_ms is None else bound.bound_ms / measured_ms,
    )


def _is_jetson(item: Device) -> bool:
    return any(name.startswith("jetpack") for name in item.targets)


def _clock_ratio(on: Device, gpus: Iterable[GpuState]) -> float | None:
    """The highest clock over that of the data sheet; of a card None where its driver does not tell the clock."""
    if _is_jetson(on):
        return 1.0
    clocks = [
        state.largest_sm_mhz
        for state in gpus
        if state.largest_sm_mhz is not None and _MAKER.sub("", state.name) == _MAKER.sub("", on.title)
    ]
    return max(1.0, max(clocks) / on.clock_mhz) if clocks and on.clock_mhz else None
