"""Under which conditions a latency was measured: what could change it stands in the report."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from edgekit.latency.doubts import Doubt


@dataclass(frozen=True)
class Environment:
    """A missing value is None. `load` is the one-minute load average a core, before the run."""

    machine: str
    cpu: str | None
    cores: int | None
    load: float | None
    governor: str | None

    def doubts(self) -> tuple[Doubt, ...]:
        """What makes the figures doubtful."""
        found = []
        if self.load is not None and self.load > 0.5:
            found.append(Doubt("busy", f"the machine is busy: load average of {self.load:.2f} a core"))
        if self.governor not in (None, "performance"):
            found.append(Doubt("governor", f"the CPU's governor is {self.governor!r}, not 'performance'"))
        return tuple(found)


def environment(root: Path = Path("/")) -> Environment:
    """Read the machine under `root`; nothing is changed."""
    cores = os.cpu_count()
    load = _text(root / "proc/loadavg")
    governor = _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    models = re.findall(r"^model name\s*: (.*)$", _text(root / "proc/cpuinfo") or "", re.MULTILINE)
    return Environment(
        machine=platform.machine(),
        cpu=models[0] if models else None,
        cores=cores,
        load=round(float(load.split()[0]) / (cores or 1), 2) if load else None,
        governor=governor.strip() if governor else None,
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
