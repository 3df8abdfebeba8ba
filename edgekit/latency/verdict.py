"""Does a latency budget hold? PASS and FAIL only with 95 % confidence, INCONCLUSIVE with the samples still missing.

A limit on the q-quantile, and one of 1 - q on misses of a deadline, ask the same: is the share of slow requests above
1 - q? PASS when the upper confidence bound is inside the budget, FAIL when the lower one is outside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgekit.budget import FAIL, INCONCLUSIVE, OF_A_PROCESS, PASS, Finding, Limit
from edgekit.errors import UsageError
from edgekit.latency.stats import QUANTILES, Interval, binomial_cdf, effective_samples, miss_rate, quantile

# Each end of a two-sided interval at 90 % holds with 95 %.
_TWO_SIDED = 0.90
_TAIL = 0.05
_MOST_SAMPLES = 1 << 20


def judge_overloaded(finding: Finding) -> Finding:
    """A queue that grows without end has no quantiles: any bound is broken if one only waits."""
    return replace(finding, outcome=FAIL, high=math.inf, missing=None)


def overload(fps: float | None, utilisation: float | None) -> list[str]:
    """What is to be said of requests that come faster than they are served; nothing of others."""
    if utilisation is None or utilisation < 1:
        return []
    share = f"{fps:g} a second take {utilisation:.0%} of the time"
    return [f"requests come faster than they are served: {share}, and the queue grows without end"]


def judge_latency(limit: Limit, latencies_ms: npt.NDArray[np.float64], deadline_ms: float | None) -> Finding:
    """Judge a limit of the latency gate on latencies in ms, in the order in which they were measured.

    Raises UsageError for `deadline_miss` without a deadline.
    """
    if limit.key == "jitter_ms":
        return _judge_jitter(limit, latencies_ms)
    q = 1 - limit.value if limit.key == "deadline_miss" else QUANTILES[limit.key]
    # A single miss refutes deadline_miss<=0, however much requests depend on each other.
    effective = effective_samples(latencies_ms, q) if q < 1 else len(latencies_ms)
    if limit.key == "deadline_miss":
        slow = latencies_ms > _known(deadline_ms)
        found = miss_rate(slow, effective, _TWO_SIDED)
    else:
        slow = latencies_ms > limit.value
        found = quantile(latencies_ms, q, effective, _TWO_SIDED)
    needed = _needed(q, int(np.count_nonzero(~slow)), len(slow), effective)
    missing = None if needed is None else max(1, math.ceil(needed * len(slow) / effective) - len(slow))
    return _finding(limit, found, missing)


def judge_starts(limit: Limit, values: Sequence[float]) -> Finding:
    """Judge a limit on what each of several processes showed, such as the seconds of its cold start, by the median.

    Five of five within the limit are a PASS: that all are by chance has a probability of 0.5^5.
    """
    found = quantile(np.array(values), 0.5, len(values), _TWO_SIDED)
    needed = _needed(0.5, sum(value <= limit.value for value in values), len(values), len(values))
    return _finding(limit, found, None if needed is None else max(1, needed - len(values)))


def samples_needed(limits: Iterable[Limit]) -> dict[float, int]:
    """How many independent samples each quantile needs before a limit on it can PASS: q^n <= 5 %, which is 299 for p99.

    A limit that nothing can break, or nothing can prove, such as deadline_miss<=0, needs none.
    """
    needed: dict[float, int] = {}
    for limit in limits:
        if limit.key == "jitter_ms":
            asked = {q: _at_least(q, _TAIL / 2) for q in (0.5, 0.99)}
        elif limit.gate == "latency" and limit.key not in OF_A_PROCESS:
            q = 1 - limit.value if limit.key == "deadline_miss" else QUANTILES[limit.key]
            asked = {q: _at_least(q, _TAIL)} if 0 < q < 1 else {}
        else:
            continue
        needed |= {q: max(count, needed.get(q, 0)) for q, count in asked.items()}
    return needed


def _at_least(q: float, tail: float) -> int:
    return min(math.ceil(math.log(tail) / math.log(q)), _MOST_SAMPLES)


def _known(deadline_ms: float | None) -> float:
    if deadline_ms is None:
        raise UsageError("expected a deadline to judge deadline_miss by, found none", "--fps, whose period it is")
    return deadline_ms


def _finding(limit: Limit, found: Interval, missing: int | None) -> Finding:
    if found.high <= limit.value:
        outcome = PASS
    elif found.low > limit.value:
        outcome = FAIL
    else:
        return Finding(limit, INCONCLUSIVE, found.value, found.low, found.high, missing)
    return Finding(limit, outcome, found.value, found.low, found.high)


def _judge_jitter(limit: Limit, latencies_ms: npt.NDArray[np.float64]) -> Finding:
    """p99 - p50; each end joins two bounds of 97.5 %, so that it holds with 95 % (Bonferroni)."""
    worth = [effective_samples(latencies_ms, q) for q in (0.99, 0.5)]
    tall, middle = (quantile(latencies_ms, q, count) for q, count in zip((0.99, 0.5), worth, strict=True))
    found = Interval(tall.value - middle.value, max(0.0, tall.low - middle.high), tall.high - middle.low)
    # Until p99 has an upper bound at all; what it takes beyond that depends on values not yet seen.
    needed = max(_at_least(0.99, _TAIL / 2), 2 * worth[0])
    return _finding(limit, found, math.ceil(needed * len(latencies_ms) / worth[0]) - len(latencies_ms))


def _needed(q: float, fast: int, count: int, effective: int) -> int | None:
    """How many independent samples decide, if `fast` of `count` are inside the budget as they are so far."""
    if not 0 < q < 1 or fast == q * count:
        return None

    def decides(number: int) -> bool:
        if fast > q * count:
            return binomial_cdf(number * fast // count - 1, number, q) >= 1 - _TAIL
        return binomial_cdf(-(-number * fast // count), number, q) < _TAIL

    low, high = 0, max(effective, 1)
    while not decides(high):
        low, high = high, 2 * high
        if high > _MOST_SAMPLES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high
