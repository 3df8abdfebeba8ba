"""The power mode: which one nvpmodel has set, which there are, and whether it is the largest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgekit.device.reading import text

# `< POWER_MODEL ID=2 NAME=MAXN_SUPER >` and `< PM_CONFIG DEFAULT=2 >`; a line that begins with # is a comment.
# The format is explained at the head of the file itself and in https://docs.nvidia.com/jetson/archives/r36.4.3/
# DeveloperGuide/SD/PlatformPowerAndPerformance.html, "Power Mode Controls".
_MODE = re.compile(r"^[ \t]*<[ \t]*POWER_MODEL[ \t]+ID=([0-9]{1,4})[ \t]+NAME=([^\s>]+)[ \t]*>", re.MULTILINE)
_DEFAULT = re.compile(r"^[ \t]*<[ \t]*PM_CONFIG[ \t]+DEFAULT=([0-9]{1,4})[ \t]*>", re.MULTILINE)
# /var/lib/nvpmodel/status is `pmode:0002`, on older releases followed by the fan's mode.
_STATUS = re.compile(r"\bpmode:[ \t]*([0-9]{1,4})\b")
_WATTS = re.compile(r"(?:^|_)([0-9]{1,4})W(?:_|$)")


@dataclass(frozen=True)
class PowerMode:
    """A mode by the number that `nvpmodel -m` takes, and its name, such as 25W or MAXN_SUPER."""

    id: int
    name: str


@dataclass(frozen=True)
class Power:
    """`current` and `largest` are None where the files do not tell; `default` is the mode after a reboot from new.

    `is_largest` says whether no mode allows more than the current one, None where that cannot be told.
    """

    current: PowerMode | None
    largest: PowerMode | None
    default: PowerMode | None
    is_largest: bool | None
    modes: tuple[PowerMode, ...]


def read_power(root: Path = Path("/")) -> Power | None:
    """Read /etc/nvpmodel.conf and /var/lib/nvpmodel/status; None where neither tells anything. Never raises."""
    config = text(root / "etc/nvpmodel.conf") or ""
    modes = tuple(PowerMode(int(number), name) for number, name in _MODE.findall(config))
    status = _STATUS.search(text(root / "var/lib/nvpmodel/status") or "")
    if not modes and not status:
        return None
    by_id = {mode.id: mode for mode in modes}
    default = _DEFAULT.search(config)
    current = by_id.get(int(status[1])) if status else None
    largest = _largest(modes)
    return Power(
        current=current,
        largest=largest,
        default=by_id.get(int(default[1])) if default else None,
        is_largest=current == largest if current and largest else None,
        modes=modes,
    )


def _largest(modes: tuple[PowerMode, ...]) -> PowerMode | None:
    """MAXN_SUPER, else MAXN, else the most watts: some devices have no MAXN. None where a name tells neither."""
    unbounded = [mode for mode in modes if mode.name.startswith("MAXN")]
    if unbounded:
        return max(unbounded, key=lambda mode: "SUPER" in mode.name)
    watts = [(int(found[1]), mode) for mode in modes if (found := _WATTS.search(mode.name))]
    if not watts or len(watts) < len(modes):
        return None
    return max(watts, key=lambda pair: pair[0])[1]
