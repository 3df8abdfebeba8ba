"""What a device has, as data with sources in devices.toml."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgekit.errors import TargetError, nearest
from edgekit.targets.facts import read_facts, with_sources
from edgekit.targets.kinds import Target


@dataclass(frozen=True)
class Device:
    """A Jetson module or a graphics card at its fastest setting. What is not known is None.

    `targets` are the targets whose engines it runs. `memory_gb` and `bandwidth_gb_s` are in units of 10^9 bytes, of
    the memory that the GPU uses; `cache_mb`, in units of 10^6, is the most that the caches in front of it can hold.
    `clock_mhz` is the GPU's highest by the data sheet. `fp16_tflops` (accumulating in FP16 where that is faster) and
    `int8_tops` are the peaks of its tensor cores for **dense** products, in 10^12 operations a second, the DLA not
    counted. `max_power_w` is the highest power mode with a limit, or the card's. `sources` says of each value that is
    given where it is from.
    """

    name: str
    title: str
    targets: tuple[str, ...]
    compute_capability: str
    multiprocessors: int | None = None
    memory_gb: float | None = None
    bandwidth_gb_s: float | None = None
    cache_mb: float | None = None
    clock_mhz: int | None = None
    fp16_tflops: float | None = None
    int8_tops: float | None = None
    dla_cores: int | None = None
    max_power_w: int | None = None
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def check_target(self, target: Target) -> None:
        """Raise TargetError when this device runs no engine of `target`; the error names those that do."""
        if target.name in self.targets:
            return
        fitting = [name for name in device_names() if target.name in device(name).targets]
        if not fitting:
            raise TargetError(f"expected no device for target {target.name}, found {self.name}", "leave --device out")
        raise TargetError(
            f"expected a device of target {target.name}, found {self.name}", f"--device {' or '.join(fitting)}"
        )


def device_names() -> tuple[str, ...]:
    """The names that `device` knows, Jetson modules first; `edgekit.targets.DEVICES` is the same."""
    return tuple(read_facts("devices.toml"))


@functools.cache
def device(name: str) -> Device:
    """Look a device up by name. Raises TargetError, which names the nearest, for one that is not in devices.toml."""
    known = device_names()
    if name not in known:
        raise TargetError(f"expected a device, found {name!r}; {nearest(name, known)}", "--device with one of those")
    found: Device = with_sources(Device, "devices.toml", name)
    return found
