"""What a loop counts: whole numbers, histograms, and the last times exactly, in memory that is made once."""

from __future__ import annotations

import math
import threading
import time
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekit.runtime.counters import Histogram
from edgekit.runtime.loop.report import LoopReport, SourceReport, Spread
from edgekit.runtime.loop.slots import Fifo
from edgekit.runtime.runner import Timing

_KEPT = 4096  # a little over two minutes at 30 frames a second


class Times:
    """Milliseconds: a histogram of all, and the last ones exactly."""

    def __init__(self, kept: int = _KEPT) -> None:
        self.histogram = Histogram()
        self.largest = 0.0
        self._last = array("d", bytes(8 * kept))
        self._count = 0

    def add(self, value: float) -> None:
        """Count a time; the oldest of the last goes."""
        self._last[self._count % len(self._last)] = value
        self._count += 1
        self.largest = max(self.largest, value)
        self.histogram.add(value)

    def last(self) -> array[float]:
        """A copy of the last ones, in no order."""
        return self._last[: min(self._count, len(self._last))]


class Statistics:
    """Written by the loop's thread, frames under the slots' own lock: in a snapshot they are all of one moment."""

    def __init__(self, slots: Sequence[Fifo], names: Sequence[str], deadline_ms: float | None) -> None:
        self.bad = self.held = self.left_out = self.resets = self.deadline_misses = self.sink_errors = 0
        self._slots, self._names = slots, names
        self._lock: threading.Condition = slots[0].ready
        self._deadline_ms = math.inf if deadline_ms is None else deadline_ms
        self._processed = [0] * len(slots)
        self._ages, self._computes = Times(), Times()
        self._answered_ns: list[int | None] = [None] * len(slots)  # when what was answered last was captured

    @property
    def processed(self) -> int:
        """Frames that were answered."""
        return sum(self._processed)

    def answered(self, camera: int, age_ms: float, held: bool) -> None:
        """A frame of this camera has its answer."""
        with self._lock:
            self._processed[camera] += 1
            self.held += held
            self._ages.add(age_ms)
            if not held:
                self._answered_ns[camera] = time.perf_counter_ns() - round(age_ms * 1e6)
            self.deadline_misses += age_ms > self._deadline_ms

    def computed(self, timing: Timing) -> None:
        """An inference ended."""
        with self._lock:
            self._computes.add(timing.compute_ms)

    def settle(self) -> None:
        """Close all slots; what waits, and what was taken but never answered, is dropped."""
        with self._lock:
            for slot, processed in zip(self._slots, self._processed, strict=True):
                slot.discard(slot.counts().taken - processed)

    def snapshot(self) -> dict[str, Any]:
        """Whole numbers by name, and histograms as `edgekit.runtime.counters` has them; any thread may ask.

        captured = processed + under_way + dropped + waiting, in all and for each of `sources`.
        """
        with self._lock:
            sources = {}
            for name, slot, processed in zip(self._names, self._slots, self._processed, strict=True):
                captured, taken, dropped, waiting = slot.counts()
                sources[name] = {
                    "captured": captured,
                    "processed": processed,
                    "under_way": taken - processed,
                    "dropped": dropped,
                    "waiting": waiting,
                }
            return {
                **{key: sum(source[key] for source in sources.values()) for key in next(iter(sources.values()))},
                **self._plain_counts(),
                "sources": sources,
                "age_ms": self._ages.histogram.snapshot(),
                "compute_ms": self._computes.histogram.snapshot(),
            }

    def ages(self) -> dict[str, float | None]:
        """Milliseconds. `now` is how long ago that was captured whose answer is a camera's last good one, of several
        cameras the longest; it grows until the next, and is None as long as a camera has had none. The rest as
        `Spread`."""
        with self._lock:
            last, largest, answered_ns = self._ages.last(), self._ages.largest, list(self._answered_ns)
        now_ns = time.perf_counter_ns()
        waits = [(now_ns - at_ns) / 1e6 for at_ns in answered_ns if at_ns is not None]
        now_ms = round(max(waits), 3) if len(waits) == len(answered_ns) else None
        found = spread(last, largest)
        return {"now": now_ms, "p50": found.p50, "p99": found.p99, "max": found.max}

    def report(self, **rest: Any) -> LoopReport:
        """The report; `rest` is what is not counted here."""
        with self._lock:
            snapshot = self.snapshot()
            largest = self._ages.largest, self._computes.largest
            lasts = self._ages.last(), self._computes.last()
        age_ms, compute_ms = (spread(*pair) for pair in zip(lasts, largest, strict=True))
        sources = tuple(
            SourceReport(name, counts["captured"], counts["processed"], counts["dropped"])
            for name, counts in snapshot["sources"].items()
        )
        counts = {key: snapshot[key] for key in ("captured", "processed", "dropped", *self._plain_counts())}
        return LoopReport(age_ms=age_ms, compute_ms=compute_ms, sources=sources, **counts, **rest)

    def _plain_counts(self) -> dict[str, int]:
        return {
            "held": self.held,
            "left_out": self.left_out,
            "bad": self.bad,
            "resets": self.resets,
            "deadline_misses": self.deadline_misses,
            "sink_errors": self.sink_errors,
        }


def spread(last: Sequence[float], largest: float) -> Spread:
    """By nearest rank: each percentile is a value that was measured."""
    if not last:
        return Spread(0, 0.0, 0.0, 0.0)
    ranks = [math.ceil(q * len(last)) - 1 for q in (0.5, 0.99)]
    # A tenth of what sorting takes, for it is asked for while a loop runs, and Python's lock is held meanwhile.
    p50, p99 = (round(float(value), 3) for value in np.partition(np.asarray(last, np.float64), ranks)[ranks])
    return Spread(len(last), p50, p99, round(largest, 3))
