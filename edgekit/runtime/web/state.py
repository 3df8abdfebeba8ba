"""The numbers of the loops that are watched, as the page asks for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from edgekit.runtime.loop.report import LoopReport, Spread
from edgekit.runtime.web.pane import Pane
from edgekit.runtime.web.view import View

_EVENTS = 30
_Value = TypeVar("_Value")


class Watched(Protocol):
    """What is asked of a StreamLoop, from any thread."""

    def snapshot(self) -> dict[str, Any]:
        """Its counts, with the names of its `sources`."""

    def report(self) -> LoopReport:
        """What there is to say so far."""


class Fresh(Generic[_Value]):
    """What `make` gives, made anew at most every `seconds`, whoever asks; threads wait for the one that makes it."""

    def __init__(self, seconds: float, make: Callable[[], _Value]) -> None:
        self._seconds, self._make = seconds, make
        self._lock = threading.Lock()
        self._made: tuple[float, _Value] | None = None

    def get(self) -> _Value:
        """The last one, unless it is too old."""
        with self._lock:
            now_s = time.monotonic()
            if self._made is None or now_s - self._made[0] >= self._seconds:
                self._made = now_s, self._make()
            return self._made[1]


def loop_state(name: str, loop: Watched, view: View, panes: Sequence[Pane]) -> dict[str, Any]:
    """One loop as JSON values; `ages` are the oldest answers of the last minute's half seconds, over its sources."""
    report, now_ns = loop.report(), time.perf_counter_ns()
    ages = zip(*(pane.oldest_ms(now_ns) for pane in panes), strict=True)
    counts = ("captured", "processed", "dropped", "held", "left_out", "bad", "resets", "deadline_misses", "sink_errors")
    return {
        "name": name,
        "state": report.state,
        "ended": report.ended,
        "seconds": report.seconds,
        "rate": sum(pane.state(now_ns)["rate"] for pane in panes),
        **{key: getattr(report, key) for key in counts},
        "age_ms": _spread(report.age_ms),
        "compute_ms": _spread(report.compute_ms),
        "deadline_ms": view.deadline_ms,
        "ages": [_oldest(bin) for bin in ages],
        "who": {key: str(report.health[key]) for key in ("backend", "device", "reason") if report.health.get(key)},
        "trouble": [str(report.health[key]) for key in ("degraded", "last_error") if report.health.get(key)],
        "events": [
            {"kind": event.kind, "at_s": round(event.at_s, 1), "source": event.source, "message": event.message}
            for event in reversed(report.events[-_EVENTS:])
        ],
        "event_count": sum(report.event_counts.values()),
    }


def _spread(spread: Spread) -> dict[str, float]:
    return {"n": spread.n, "p50": spread.p50, "p99": spread.p99, "max": spread.max}


def _oldest(ages: Sequence[float | None]) -> float | None:
    known = [age for age in ages if age is not None]
    return round(max(known), 2) if known else None
