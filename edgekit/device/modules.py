"""Which module a Jetson carries: its number in the device tree, its name, and the name for `--device`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgekit.device.memory import read_memory
from edgekit.device.reading import text


@dataclass(frozen=True)
class Module:
    """A Jetson module; what is not known is None. `number` is such as "p3767-0005"; `device` is for `--device`."""

    number: str | None
    name: str | None
    device: str | None


# The table of board numbers in nvautoflash.sh, which is part of Jetson Linux (https://developer.nvidia.com/linux-tegra),
# and "Jetson Developer Kits and Modules" in https://docs.nvidia.com/jetson/archives/r36.4.3/DeveloperGuide/ and r38.4.
# p3701-0000 and -0001 are the first developer kits, with the GPU of the 64 GB module beside 32 GB of memory: they are
# named by their memory. The industrial module's clocks are its own: it has no name for --device.
_MODULES = {
    "p3701-0004": ("Jetson AGX Orin 32GB", "agx-orin-32"),
    "p3701-0005": ("Jetson AGX Orin 64GB", "agx-orin-64"),
    "p3701-0008": ("Jetson AGX Orin Industrial", None),
    "p3767-0000": ("Jetson Orin NX 16GB", "orin-nx-16"),
    "p3767-0001": ("Jetson Orin NX 8GB", "orin-nx-8"),
    "p3767-0002": ("Jetson Orin NX 16GB", "orin-nx-16"),
    "p3767-0003": ("Jetson Orin Nano 8GB", "orin-nano-8"),
    "p3767-0004": ("Jetson Orin Nano 4GB", "orin-nano-4"),
    "p3767-0005": ("Jetson Orin Nano 8GB of the developer kit", "orin-nano-8"),
    "p3834-0000": ("Jetson T4000", "thor-t4000"),
    "p3834-0008": ("Jetson T5000", "agx-thor"),
}

# By family and memory in GB: the modules that NVIDIA sells (https://developer.nvidia.com/embedded/jetson-modules).
_BY_MEMORY = {
    "Orin Nano": {4: "orin-nano-4", 8: "orin-nano-8"},
    "Orin NX": {8: "orin-nx-8", 16: "orin-nx-16"},
    "AGX Orin": {32: "agx-orin-32", 64: "agx-orin-64"},
    "Thor": {64: "thor-t4000", 128: "agx-thor"},
    # The chip alone: 8 GB may be an Orin NX or an Orin Nano.
    "tegra234": {4: "orin-nano-4", 16: "orin-nx-16", 32: "agx-orin-32", 64: "agx-orin-64"},
    "tegra264": {64: "thor-t4000", 128: "agx-thor"},
}
_FAMILY_OF_NUMBER = {"p3701": "AGX Orin", "p3834": "Thor"}
# Firmware keeps a part for itself: MemTotal is 93 to 98 % of the module's memory on the devices seen in forum posts.
_LEAST_PART = 0.8
# `nvidia,p3768-0000+p3767-0005-super` is carrier and module, `nvidia,p3767-0005` the module alone.
_NUMBER = re.compile(r"(?:nvidia,|\+)(p(?:3701|3767|3834)-[0-9]{4})(?=\Z|-super\Z)")


def find_module(root: Path = Path("/")) -> Module | None:
    """Read which module this is; None where the device tree names no Orin and no Thor. Never raises.

    The number in the device tree's `compatible` decides, else the model's name or the chip with the size of memory.
    """
    compatible = (text(root / "proc/device-tree/compatible") or "").split("\0")
    number = next((found[1] for item in compatible if (found := _NUMBER.search(item))), None)
    if number and number in _MODULES:
        return Module(number, *_MODULES[number])
    model = text(root / "proc/device-tree/model") or ""
    family = _FAMILY_OF_NUMBER.get((number or "")[:5]) or next((item for item in _BY_MEMORY if item in model), None)
    chip = next((item[len("nvidia,") :] for item in compatible if item.startswith("nvidia,tegra")), "")
    family = family or (chip if chip in _BY_MEMORY else None)
    if family is None:
        return None
    return Module(number, None, _of_size(_BY_MEMORY[family], read_memory(root).total_mib))


def _of_size(devices: dict[int, str], total_mib: int | None) -> str | None:
    """The device whose memory, in GB, MemTotal is a little less than."""
    for gigabytes, device in devices.items():
        if total_mib is not None and _LEAST_PART * gigabytes <= total_mib / 1024 <= gigabytes:
            return device
    return None
