"""What every stage returns: a frozen record of what was made, written as JSON beside the output."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

# progress(what, done, total): called from inside a stage; `total` is 0 when it is not known.
Progress = Callable[[str, int, int], None]


def no_progress(what: str, done: int, total: int) -> None:
    """The default: stages are silent, and only the command line draws."""


@dataclass(frozen=True)
class StageReport:
    """The part that all reports share."""

    path: Path
    seconds: float
    peak_rss_mib: float
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values; `stage` names the class."""
        return {"stage": type(self).__name__.removesuffix("Report").lower(), **plain(self)}


def called(source: Path) -> str:
    """A model's name for a person: that of a file, or of a folder and where it stands, since most are called bundle."""
    whole = source.resolve()
    return whole.name if whole.suffix else f"{whole.parent.name}/{whole.name}".removeprefix("/")


def decibels(value: float) -> str:
    """An SQNR for a person; NaN is that of a broken answer."""
    if math.isfinite(value):
        return f"{value:.1f} dB"
    return "equal" if value > 0 else "broken (NaN or Inf)"


def report_file(out: Path) -> Path:
    """Where the report on what a stage wrote to `out` stands."""
    return out.with_name(out.name + ".json")


class Stopwatch:
    """Measures a stage for its report."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def seconds(self) -> float:
        """Seconds since the start, to the millisecond."""
        return round(time.perf_counter() - self._start, 3)


def peak_rss_mib() -> float:
    """The largest resident set of this process so far, in MiB.

    From VmHWM of /proc (proc(5)): getrusage's ru_maxrss also counts the process that started this one, up to the exec.
    """
    kib = _status_kib("VmHWM")
    if kib is None:
        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kib / 1024, 1)


def resident_mib() -> float:
    """The resident set of this process now, in MiB; 0 where /proc does not tell."""
    return round((_status_kib("VmRSS") or 0) / 1024, 1)


def _status_kib(field: str) -> int | None:
    """A line such as `VmRSS:  12345 kB` of /proc/self/status (proc(5))."""
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field))
    except (OSError, StopIteration):
        return None


def plain(value: Any) -> Any:
    """Dataclasses, paths and tuples as the values that JSON knows; it has no infinities: they become 'inf', 'nan'."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return str(value) if isinstance(value, Path) else value
