"""A line of tegrastats, in the shapes that Xavier, Orin and Thor print: what it does not say is None, never 0.

The fields: "Tegrastats Utility" in https://docs.nvidia.com/jetson/archives/r38.4/DeveloperGuide/AT/
JetsonLinuxDevelopmentTools/TegrastatsUtility.html, and the same page of r35.4.1 and r36.4.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# Counts are short, so that no text makes int() refuse.
_N = "[0-9]{1,9}"
_START, _END = r"(?<!\S)", r"(?!\S)"
_RAM = re.compile(rf"{_START}RAM ({_N})/({_N})MB(?: \(lfb ({_N})x({_N})([kM])B\))?")
_SWAP = re.compile(rf"{_START}SWAP ({_N})/({_N})MB(?: \(cached ({_N})MB\))?")
# One frequency behind the list is that of all cores.
_CPUS = re.compile(rf"{_START}CPU \[([^\]]*)\](?:@({_N}))?")
_LOAD = re.compile(rf"\s*({_N})%(?:@({_N}))?\s*")
_EMC = re.compile(rf"{_START}EMC_FREQ (?:({_N})%)?(?:@({_N}))?")
# Load, frequency, or both; the frequency of one cluster, or a list of each one's.
_GPU = re.compile(rf"{_START}GR3D_FREQ (?:({_N})%)?(?:@(?:({_N})|\[([^\]]*)\]))?{_END}")
# `cpu@52.9C`, and since JetPack 7 the largest since the start behind a slash.
_DEGREES = r"-?[0-9]{1,4}(?:\.[0-9]{1,6})?"
_TEMPERATURE = re.compile(rf"{_START}([\w.-]{{1,40}})@({_DEGREES})C(?:/{_DEGREES}C)?{_END}")
# `VDD_IN 4319mW/4100mW`; JetPack 4 had no unit, JetPack 7 appends the largest.
_RAIL = re.compile(rf"{_START}([A-Z][A-Z0-9_]{{1,40}}) ({_N})(?:mW)?/({_N})(?:mW)?(?:/{_N}mW)?{_END}")
# tegrastats shows an engine without power at -256 C.
_COLDEST = -200.0
_UNUSED_RAIL = "NC"


@dataclass(frozen=True)
class Core:
    """A CPU core: its load in percent and its frequency; both None for one that is off."""

    load_percent: int | None
    mhz: int | None


@dataclass(frozen=True)
class Rail:
    """A power rail in mW: now, and the mean since tegrastats started."""

    now_mw: int
    mean_mw: int


@dataclass(frozen=True)
class Tegrastats:
    """One line. Memory in MiB (which tegrastats calls MB), loads in percent, temperatures in degrees Celsius.

    `largest_free_kib` is the largest free block, of which there are `free_blocks`. `gpu_mhz` has one value a graphics
    cluster: two on AGX Orin, three on Thor, which does not tell its load before JetPack 7.2. A temperature of None is
    an engine without power.
    """

    ram_used_mib: int | None = None
    ram_total_mib: int | None = None
    free_blocks: int | None = None
    largest_free_kib: int | None = None
    swap_used_mib: int | None = None
    swap_total_mib: int | None = None
    swap_cached_mib: int | None = None
    cores: tuple[Core, ...] = ()
    emc_percent: int | None = None
    emc_mhz: int | None = None
    gpu_percent: int | None = None
    gpu_mhz: tuple[int | None, ...] = ()
    celsius: dict[str, float | None] = field(default_factory=dict)
    rails: dict[str, Rail] = field(default_factory=dict)


def parse_tegrastats(line: str) -> Tegrastats:
    """Read one line; never raises, and what is not of a known form is passed over."""
    ram_used, ram_total, blocks, size, unit = _groups(_RAM, line, 5)
    swap_used, swap_total, swap_cached = _groups(_SWAP, line, 3)
    emc_percent, emc_mhz = _groups(_EMC, line, 2)
    gpu_percent, one_mhz, list_mhz = _groups(_GPU, line, 3)
    largest = _count(size)
    return Tegrastats(
        ram_used_mib=_count(ram_used),
        ram_total_mib=_count(ram_total),
        free_blocks=_count(blocks),
        largest_free_kib=largest if largest is None or unit == "k" else largest << 10,
        swap_used_mib=_count(swap_used),
        swap_total_mib=_count(swap_total),
        swap_cached_mib=_count(swap_cached),
        cores=_cores(line),
        emc_percent=_count(emc_percent),
        emc_mhz=_count(emc_mhz),
        gpu_percent=_count(gpu_percent),
        gpu_mhz=_frequencies(one_mhz, list_mhz),
        celsius={name: _celsius(value) for name, value in _TEMPERATURE.findall(line)},
        rails={
            name: Rail(int(now), int(mean)) for name, now, mean in _RAIL.findall(line) if name != _UNUSED_RAIL
        },
    )  # fmt: skip


def _groups(pattern: re.Pattern[str], line: str, count: int) -> tuple[str | None, ...]:
    found = pattern.search(line)
    return found.groups() if found else (None,) * count


def _count(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


def _cores(line: str) -> tuple[Core, ...]:
    found = _CPUS.search(line)
    if not found or not found[1].strip():
        return ()
    loads = [_LOAD.fullmatch(item) for item in found[1].split(",")]
    return tuple(Core(int(load[1]), _count(load[2] or found[2])) if load else Core(None, None) for load in loads)


def _frequencies(one: str | None, several: str | None) -> tuple[int | None, ...]:
    if several is None:
        return () if one is None else (int(one),)
    parts = [item.strip() for item in several.split(",")] if several.strip() else []
    return tuple(int(item) if re.fullmatch(_N, item) else None for item in parts)


def _celsius(value: str) -> float | None:
    return float(value) if float(value) > _COLDEST else None
