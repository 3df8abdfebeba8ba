"""Send requests as they arrive and write down when each was meant to start and when it was done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.latency.arrivals import Arrivals
from edgekit.reports import Progress, no_progress

Clock = Callable[[], int]
_NS = 1e9
_WINDOW = 50
_STEADY = 0.02
_MOST_WARMUP = 20
_LONGEST_WARMUP_NS = 5_000_000_000


@dataclass(frozen=True)
class Samples:
    """Raw times in ns, [n] each: kept, so that anyone can compute anything from them."""

    intended_ns: npt.NDArray[np.int64]
    done_ns: npt.NDArray[np.int64]

    @property
    def latencies_ms(self) -> npt.NDArray[np.float64]:
        """From the intended start to the end, float64 [n] in ms."""
        latencies: npt.NDArray[np.float64] = (self.done_ns - self.intended_ns) / 1e6
        return latencies

    def utilisation(self, fps: float) -> float:
        """The share of the time between arrivals that serving takes: from 1 on the queue grows without end."""
        begun = np.maximum(self.intended_ns, np.concatenate([self.intended_ns[:1], self.done_ns[:-1]]))
        return float((self.done_ns - begun).clip(min=0).mean()) * fps / _NS


@dataclass(frozen=True)
class Timer:
    """A clock in ns and a sleep in seconds; tests bring simulated ones."""

    now: Clock = time.perf_counter_ns
    sleep: Callable[[float], None] = time.sleep


def measure(
    serve: Callable[[], object],
    arrivals: Arrivals,
    timer: Timer = Timer(),
    progress: Progress = no_progress,
    until_ns: int | None = None,
) -> Samples:
    """Call `serve` once a request and return the raw times; at a fixed rate a late request starts at once.

    From `until_ns` on no request starts, but for the first. Those that were due by then and still wait are counted
    with the time that they have waited: a stall at the end must not hide whom it held up.
    """
    intended = np.empty(arrivals.count, np.int64)
    done = np.empty(arrivals.count, np.int64)
    for index, planned in enumerate(arrivals.intended_ns(timer.now())):
        if until_ns is not None and index and max(planned or 0, timer.now()) >= until_ns:
            waiting = _waiting(arrivals, intended[0], index, until_ns)
            now = np.full(len(waiting), timer.now())
            return Samples(np.concatenate([intended[:index], waiting]), np.concatenate([done[:index], now]))
        if planned is not None:
            _wait_until(planned, timer)
        intended[index] = timer.now() if planned is None else planned
        serve()
        done[index] = timer.now()
        if index % _WINDOW == 0:
            progress("measuring latency", index, arrivals.count)
    return Samples(intended, done)


def _waiting(arrivals: Arrivals, start_ns: int, served: int, until_ns: int) -> npt.NDArray[np.int64]:
    """When the requests were due that came before `until_ns` and found no one to serve them."""
    if arrivals.period_ns is None:
        return np.empty(0, np.int64)
    due = start_ns + np.arange(served, arrivals.count, dtype=np.int64) * arrivals.period_ns
    return due[due < until_ns]


def warm_up(serve: Callable[[], object], timer: Timer = Timer()) -> int:
    """Call `serve` until the medians of two windows of 50 differ by under 2 %; return the number of calls.

    It ends after 1000 calls or 5 s too: a noisy machine never gets steady, and its noise is what is then measured.
    """
    previous, start = 0.0, timer.now()
    for window in range(1, _MOST_WARMUP + 1):
        samples = measure(serve, Arrivals("closed", _WINDOW), timer)
        median = float(np.median(samples.latencies_ms))
        if abs(median - previous) <= _STEADY * previous or timer.now() - start > _LONGEST_WARMUP_NS:
            return window * _WINDOW
        previous = median
    return _MOST_WARMUP * _WINDOW


def _wait_until(planned: int, timer: Timer) -> None:
    """Sleep most of the way: the kernel wakes us up to 0.1 ms late, which counts as latency, as it does on a robot."""
    while (left := planned - timer.now()) > 0:
        timer.sleep(left / _NS)
