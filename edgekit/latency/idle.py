"""What a pause costs: clocks fall, caches are taken by others, and the first request after it is slow.

A camera that looks once a second lives in that first request; a benchmark without pauses never sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgekit.latency.arrivals import closed
from edgekit.latency.measure import Timer, measure
from edgekit.latency.stats import Interval, quantile
from edgekit.reports import Progress, no_progress

_BURST = 10
_SETTLED = 5  # the last so many of a burst are what it is without pauses


@dataclass(frozen=True)
class IdleGap:
    """Medians in ms with 95 % confidence: of the first requests, each after a pause of
    `pause_s`, and of settled ones.

    `slower` is by how many times the first is slower.
    """

    pause_s: float
    pauses: int
    first_ms: Interval
    settled_ms: Interval
    slower: float


def idle_gap(
    serve: Callable[[], object],
    pause_s: float,
    pauses: int = 20,
    timer: Timer = Timer(),
    progress: Progress = no_progress,
) -> IdleGap:
    """Sleep for `pause_s`, send ten requests one after the other, and that `pauses` times."""
    first: list[float] = []
    settled: list[float] = []
    for index in range(pauses):
        progress("measuring pauses", index, pauses)
        timer.sleep(pause_s)
        latencies = measure(serve, closed(_BURST), timer).latencies_ms
        first.append(float(latencies[0]))
        settled.append(float(np.median(latencies[-_SETTLED:])))  # those of a burst are alike: one of them counts
    found, usual = (quantile(np.array(values), 0.5) for values in (first, settled))
    return IdleGap(pause_s, pauses, found, usual, found.value / usual.value if usual.value > 0 else 1.0)
