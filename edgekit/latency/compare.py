"""Is B slower than A? Quantile by quantile, by how much, and how sure that is.

The change of a quantile is the logarithm of B's over A's. Its interval joins those of both by the recovery of their
variances (MOVER: Zou & Donner, Statistics in Medicine 27, 2008): each end is as far from the estimate as the root of
the squares of the two distances that would move it. Those are of order statistics on the effective sample size, see
`edgekit.latency.stats`, so that a run whose requests depend on each other says less.

No two runs are alike: caches, clocks and the place in memory differ by some per cent that no number of requests of
these two runs tells. Therefore a difference has to matter. "no difference" is a claim of its own, made only when the
whole interval lies within the tolerance; "slower" when it lies above zero, and not within; what is neither cannot be
told, and N says how many requests more would probably tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError
from edgekit.latency.stats import QUANTILES, Interval, LatencySummary, summarise

SLOWER, FASTER, NO_DIFFERENCE, CANNOT_TELL = "slower", "faster", "no difference", "cannot tell"
# How much more than the median may move before it matters: of 2000 requests, the last 20 say no more than that.
TOLERANCES = {"p50_ms": 1.0, "p90_ms": 1.5, "p99_ms": 2.5}
TOLERANCE = 0.10
_TAIL = 0.025  # of each end, as in the summary's intervals
_MOST_SAMPLES = 1 << 20


@dataclass(frozen=True)
class Change:
    """How a quantile in ms went from A to B.

    `change` is a fraction, 0.1 for 10 % slower, with its interval at 95 %; `within` the fraction that would not matter.
    `missing` requests more in each run would probably decide what cannot be told; None where it is told.
    """

    key: str
    before: float
    after: float
    change: Interval
    within: float
    outcome: str
    missing: int | None = None

    def __str__(self) -> str:
        ends = f"{100 * self.change.low:+.1f} .. {100 * self.change.high:+.1f}"
        found = f"{self.key}: {self.before:.4g} -> {self.after:.4g}, {100 * self.change.value:+.1f} % ({ends})"
        if self.outcome == NO_DIFFERENCE:
            return f"{found}: {self.outcome} of {100 * self.within:g} %"
        return f"{found}: {self.outcome}" + (f": about {self.missing} more samples" if self.missing else "")


def compare(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], tolerance: float = TOLERANCE
) -> tuple[Change, ...]:
    """Compare two runs, float64 [n] and [m] latencies in ms, each in the order in which it was measured.

    `tolerance` is the change of the median that would not matter, a fraction; p90 has 1.5 times and p99 2.5 times as
    much. Raises DataError for an empty run and for a latency that is not above 0.
    """
    for latencies in (before, after):
        if len(latencies) == 0 or not (latencies > 0).all() or not np.isfinite(latencies).all():
            raise DataError(f"expected latencies above 0 ms, found {len(latencies)}, or others")
    return compare_summaries(summarise(before), summarise(after), tolerance)


def compare_summaries(
    before: LatencySummary, after: LatencySummary, tolerance: float = TOLERANCE
) -> tuple[Change, ...]:
    """The same of two summaries, whose intervals are all that it takes."""
    return tuple(_compared(key, before, after, tolerance * times) for key, times in TOLERANCES.items())


def slower_or_not(changes: tuple[Change, ...]) -> str:
    """One word for all: slower if any is, faster if any is and none else; a doubt about one is a doubt about all."""
    outcomes = {change.outcome for change in changes}
    return next((word for word in (SLOWER, CANNOT_TELL, FASTER) if word in outcomes), NO_DIFFERENCE)


def _compared(key: str, before: LatencySummary, after: LatencySummary, within: float) -> Change:
    a, b = (getattr(summary, key) for summary in (before, after))
    value = math.log(b.value / a.value)
    found = Interval(
        value,
        value - math.hypot(_log_ratio(b.value, b.low), _log_ratio(a.high, a.value)),
        value + math.hypot(_log_ratio(b.high, b.value), _log_ratio(a.value, a.low)),
    )
    room, missing = math.log1p(within), None
    if -room <= found.low and found.high <= room:
        outcome = NO_DIFFERENCE
    elif found.low > 0:
        outcome = SLOWER
    elif found.high < 0:
        outcome = FASTER
    else:
        outcome, missing = CANNOT_TELL, _missing(key, found, room, (before, after))
    change = Interval(*(math.expm1(end) for end in (found.value, found.low, found.high)))
    return Change(key, a.value, b.value, change, within, outcome, missing)


def _log_ratio(high: float, low: float) -> float:
    """log(high / low), infinite for an end that the samples cannot give."""
    return math.log(high / low) if low > 0 else math.inf


def _missing(key: str, found: Interval, room: float, runs: tuple[LatencySummary, LatencySummary]) -> int:
    """How many requests more in each run would tell, if the change is what it seems: widths go as 1 / sqrt(n).

    An end that is infinite needs samples until there is one; what it takes beyond that depends on values not yet seen.
    """
    count = max(run.n for run in runs)
    if not math.isfinite(found.high - found.low):
        q = QUANTILES[key]
        bounded = math.ceil(math.log(_TAIL) / math.log(max(q, 1 - q)))
        more = max(math.ceil(bounded * run.n / run.effective_n[key]) - run.n for run in runs)
    else:
        size, up, down = abs(found.value), found.high - found.value, found.value - found.low
        shown = (down if found.value > 0 else up) / size if size else math.inf
        excluded = max(up / (room - found.value), down / (room + found.value)) if size < room else math.inf
        more = math.ceil(count * (min(shown, excluded) ** 2 - 1))
    return min(max(1, more), _MOST_SAMPLES)
