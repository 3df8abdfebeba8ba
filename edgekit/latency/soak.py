"""A long run at a fixed rate, window by window: does it stay as fast as it began?

Whether there is a trend is Mann's test on the windows' medians (Econometrica 13, 1945), how steep it is Theil and Sen's
slope (Sen, JASA 63, 1968): both mind the order of the values alone, so that one bad window makes no drift.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.latency.arrivals import SOAK, Arrivals
from edgekit.latency.measure import Samples, Timer, joined, measure, unserved, warm_up
from edgekit.reports import Progress, no_progress

_WINDOW_S = 60.0
# A soak that is shorter than so many minutes has shorter windows instead.
_WINDOWS = 10
_LEVEL = 0.01
_LEAST = 8  # with fewer the normal approximation of Mann's test is poor
_WORTH_TELLING = 0.02
_HOURLY_FROM_S = 600  # what a few seconds say of an hour is nonsense


@dataclass(frozen=True)
class Window:
    """`begin_s` after the start; latencies in ms of the n requests that were due in it; `celsius` at its end."""

    begin_s: float
    n: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    celsius: float | None


@dataclass(frozen=True)
class Drift:
    """Of the windows' medians: `change` over the whole run as a fraction of where it began, 0.05 for 5 % slower.

    `p` is how likely so clear a trend is by chance, None with fewer than 8 windows.
    """

    windows: int
    change: float
    per_hour: float
    p: float | None

    @property
    def is_clear(self) -> bool:
        """Whether it is worth telling: hardly by chance, and more than 2 %."""
        return self.p is not None and self.p < _LEVEL and abs(self.change) > _WORTH_TELLING

    def words(self, duration_s: float) -> str:
        """For a person, of a soak of `duration_s` seconds."""
        chance = "too few windows to tell whether by chance" if self.p is None else f"p {self.p:.2g}"
        hourly = f"{self.per_hour:+.1%} an hour, " if duration_s >= _HOURLY_FROM_S else ""
        return f"{self.change:+.1%} over the whole ({hourly}{chance})"


@dataclass(frozen=True)
class Soak:
    """What a soak found, beside its samples."""

    window_s: float
    windows: tuple[Window, ...]
    drift: Drift


def sample_soak(
    serve: Callable[[], object],
    fps: float,
    duration_s: float,
    timer: Timer = Timer(),
    progress: Progress = no_progress,
    celsius: Callable[[], float | None] = lambda: None,
) -> tuple[Samples, Soak]:
    """Warm up, then send `fps` requests a second for `duration_s`, however the samples come out.

    `celsius` is asked between windows, and what it takes counts for a request that is then due.
    """
    warm_up(serve, timer)
    window_s = min(_WINDOW_S, duration_s / _WINDOWS)
    start = timer.now()
    end_ns = start + round(duration_s * 1e9)
    rounds: list[Samples] = []
    windows: list[Window] = []
    total = max(1, math.floor(duration_s * fps))
    period_ns, sent = max(1, round(1e9 / fps)), 0

    def beat(first: int, count: int) -> Arrivals:
        """Windows leave no beat out: whatever happens between them is a part of the soak."""
        return Arrivals(SOAK, count, period_ns, start + first * period_ns)

    for count in _counts(total, window_s * fps):
        rounds.append(measure(serve, beat(sent, count), timer, no_progress, end_ns))
        sent += count
        windows.append(_window(rounds[-1], start, celsius()))
        progress("soaking", sent, total)
        if (now := timer.now()) >= end_ns:
            rounds.append(unserved(beat(sent, total - sent), end_ns, now))
            break
    return joined(rounds), Soak(window_s, tuple(windows), drift([(item.begin_s, item.p50_ms) for item in windows]))


def drift(medians: Sequence[tuple[float, float]]) -> Drift:
    """The drift of (seconds, ms) pairs, in the order of time."""
    slopes = sorted((b - a) / (end - begin) for (begin, a), (end, b) in itertools.combinations(medians, 2))
    slope = float(np.median(slopes)) if slopes else 0.0
    middle = float(np.median([value - slope * at for at, value in medians]))
    first, last = medians[0][0], medians[-1][0]
    began = middle + slope * first
    relative = slope / began if began > 0 else 0.0
    return Drift(len(medians), relative * (last - first), relative * 3600, _mann(medians))


def _mann(medians: Sequence[tuple[float, float]]) -> float | None:
    """The two-sided p of Mann's test: normal, with ties and the correction for continuity (Kendall, 1975)."""
    count = len(medians)
    if count < _LEAST:
        return None
    values = [value for _, value in medians]
    score = sum((b > a) - (b < a) for a, b in itertools.combinations(values, 2))
    ties = [values.count(value) for value in set(values)]
    variance = (_spread(count) - sum(map(_spread, ties))) / 18
    if score == 0 or variance <= 0:
        return 1.0
    return math.erfc((abs(score) - 1) / math.sqrt(2 * variance))


def _spread(count: int) -> int:
    return count * (count - 1) * (2 * count + 5)


def _counts(total: int, each: float) -> Iterator[int]:
    """How many requests each window has, `each` on average, and none of them empty."""
    done, window = 0, 1
    while done < total:
        upto = min(total, max(done + 1, round(window * each)))
        yield upto - done
        done, window = upto, window + 1


def _window(samples: Samples, start_ns: int, celsius: float | None) -> Window:
    latencies = samples.latencies_ms
    p50, p99 = np.quantile(latencies, [0.5, 0.99], method="inverted_cdf").tolist()
    begin_s = (int(samples.intended_ns[0]) - start_ns) / 1e9
    return Window(round(begin_s, 3), len(latencies), p50, p99, float(latencies.max()), celsius)
