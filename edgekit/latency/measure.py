"""Send requests as they arrive and write down when each was meant to start and when it was done."""

from __future__ import annotations

import math
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
    """Raw times in ns, int64 [n] each: kept, so that anyone can compute anything from them.

    `served` requests were answered, all n where it is None. The others stand at the end: they were due and still waited
    when the time was over, which is what their `done_ns` says.
    """

    intended_ns: npt.NDArray[np.int64]
    done_ns: npt.NDArray[np.int64]
    served: int | None = None

    @property
    def latencies_ms(self) -> npt.NDArray[np.float64]:
        """From the intended start to the end, float64 [n] in ms."""
        latencies: npt.NDArray[np.float64] = (self.done_ns - self.intended_ns) / 1e6
        return latencies

    @property
    def answered(self) -> int:
        """How many requests were answered."""
        return len(self.done_ns) if self.served is None else self.served

    def followed(self, arrivals: Arrivals, count: int, now_ns: int) -> Arrivals:
        """The next `count` requests, after these that came as `arrivals`."""
        return arrivals.next_round(count, int(self.intended_ns[-1]), int(self.done_ns[-1]), now_ns)

    def throughput(self) -> float:
        """Answered requests a second, from when the first was meant to start; infinite where no time passed."""
        seconds = float(self.done_ns[self.answered - 1] - self.intended_ns[0]) / _NS
        return self.answered / seconds if seconds > 0 else math.inf

    def utilisation(self, fps: float) -> float:
        """The share of the time between arrivals that serving takes: from 1 on the queue grows without end."""
        done = self.done_ns[: self.answered]  # nobody served the others
        begun = np.maximum(self.intended_ns[: self.answered], np.concatenate([self.intended_ns[:1], done[:-1]]))
        return float((done - begun).clip(min=0).mean()) * fps / _NS


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
    """Call `serve` once a request and return the raw times; one that is later than intended starts at once.

    From `until_ns` on no request starts, but for the first. Those that were due by then and still wait are counted
    with the time that they have waited: a stall at the end must not hide whom it held up.
    """
    intended = np.empty(arrivals.count, np.int64)
    done = np.empty(arrivals.count, np.int64)
    begin_ns = timer.now()
    for index, planned in enumerate(arrivals.intended_ns(begin_ns)):
        if until_ns is not None and index and max(planned or 0, timer.now()) >= until_ns:
            waiting = _waiting(arrivals, arrivals.begin_ns(begin_ns), index, until_ns)
            now = np.full(len(waiting), timer.now())
            return Samples(np.concatenate([intended[:index], waiting]), np.concatenate([done[:index], now]), index)
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
    offsets = arrivals.offsets_ns()
    if offsets is None:
        return np.empty(0, np.int64)
    due = start_ns + offsets[served:]
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


def unserved(arrivals: Arrivals, until_ns: int, now_ns: int) -> Samples:
    """Those of `arrivals`, which have a `start_ns`, that were due before `until_ns`, and that nobody served by now."""
    due = _waiting(arrivals, arrivals.begin_ns(now_ns), 0, until_ns)
    return Samples(due, np.full(len(due), now_ns), 0)


def joined(rounds: list[Samples]) -> Samples:
    """Rounds that followed each other, as one; behind who was not served there is nobody who was."""
    intended = np.concatenate([item.intended_ns for item in rounds])
    done = np.concatenate([item.done_ns for item in rounds])
    return Samples(intended, done, sum(item.answered for item in rounds))
