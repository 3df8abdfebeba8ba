"""Is this a Jetson, and which? Read from the files that JetPack leaves; `root` lets a test build the tree."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# The chip in /proc/device-tree/compatible: its name and compute capability (NVIDIA Jetson Linux developer guide).
_CHIPS = {"nvidia,tegra234": ("Orin", "8.7"), "nvidia,tegra264": ("Thor", "11.0")}
_RELEASE = re.compile(r"R(\d+) \(release\), REVISION: ([\d.]+)")


@dataclass(frozen=True)
class Jetson:
    """What is not known is None. `l4t` is the release of Jetson Linux, such as 36.4.3."""

    model: str | None
    chip: str | None
    compute_capability: str | None
    l4t: str | None


def find_jetson(root: Path = Path("/")) -> Jetson | None:
    """Return the Jetson whose tree is under `root`, or None where there is no sign of one."""
    compatible = (_text(root / "proc/device-tree/compatible") or "").split("\0")
    chip = next((_CHIPS[name] for name in compatible if name in _CHIPS), None)
    release = _RELEASE.search(_text(root / "etc/nv_tegra_release") or "")
    if chip is None and release is None:
        return None
    return Jetson(
        model=(_text(root / "proc/device-tree/model") or "").strip("\0\n ") or None,
        chip=chip[0] if chip else None,
        compute_capability=chip[1] if chip else None,
        l4t=f"{release.group(1)}.{release.group(2)}" if release else None,
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
