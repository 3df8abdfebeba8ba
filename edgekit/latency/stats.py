"""What a number of latencies allows to say: quantiles and rates with exact intervals, never a bare mean.

The interval of a quantile is that of order statistics: the number of samples below the true q-quantile is binomial
(n, q), whatever the distribution, so two ranks enclose it with a known probability (David & Nagaraja, Order
Statistics, 2003, section 7.1). The interval of a rate is Clopper & Pearson's (Biometrika 26, 1934), which is exact too.
Both assume independent samples; dependence makes the effective number of samples smaller than n.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its two-sided interval; an end that the samples cannot give is infinite."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LatencySummary:
    """All times in ms. `jitter_ms` is p99 - p50; `deadline_miss` is a fraction, None without a deadline."""

    n: int
    effective_n: int
    mean_ms: float
    p50_ms: Interval
    p90_ms: Interval
    p99_ms: Interval
    p999_ms: Interval
    jitter_ms: float
    deadline_miss: Interval | None


def summarise(latencies_ms: npt.NDArray[np.float64], deadline_ms: float | None = None) -> LatencySummary:
    """Summarise latencies in ms, in the order in which they were measured; at least one."""
    effective = effective_samples(latencies_ms)
    p50, p90, p99, p999 = (quantile(latencies_ms, q, effective) for q in (0.5, 0.9, 0.99, 0.999))
    return LatencySummary(
        n=len(latencies_ms),
        effective_n=effective,
        mean_ms=float(latencies_ms.mean()),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        p999_ms=p999,
        jitter_ms=p99.value - p50.value,
        deadline_miss=None if deadline_ms is None else miss_rate(latencies_ms > deadline_ms, effective),
    )


def quantile(samples: npt.NDArray[np.float64], q: float, effective: int | None = None) -> Interval:
    """The q-quantile of `samples` with its order-statistic interval at 95 %.

    With `effective` < n independent samples, the ranks are taken for that many and stretched to n.
    """
    ordered = np.sort(samples)
    count = len(ordered)
    independent = count if effective is None else min(effective, count)
    value = float(ordered[min(count - 1, math.ceil(q * count) - 1)])
    tail = (1 - CONFIDENCE) / 2
    # The largest rank l with P(Binomial < l) <= tail, and the smallest u with P(Binomial >= u) <= tail.
    low = _binomial_quantile(independent, q, tail)
    high = _binomial_quantile(independent, q, 1 - tail) + 1
    stretch = count / independent
    low_value = float(ordered[math.floor((low - 1) * stretch)]) if low >= 1 else -math.inf
    high_value = float(ordered[min(count - 1, math.ceil(high * stretch) - 1)]) if high <= independent else math.inf
    return Interval(value, max(low_value, 0.0), high_value)


def miss_rate(missed: npt.NDArray[np.bool_], effective: int | None = None) -> Interval:
    """The fraction of misses with Clopper & Pearson's interval at 95 %, on `effective` independent samples."""
    count = len(missed)
    rate = float(np.count_nonzero(missed)) / count
    independent = count if effective is None else min(effective, count)
    misses = round(rate * independent) if independent < count else int(np.count_nonzero(missed))
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if misses == 0 else _solve(lambda p: 1 - _binomial_cdf(misses - 1, independent, p) - tail)
    high = 1.0 if misses == independent else _solve(lambda p: tail - _binomial_cdf(misses, independent, p))
    return Interval(rate, low, high)


def samples_needed(q: float) -> int:
    """How many independent samples it takes before the largest of them bounds the q-quantile from above at 97.5 %.

    1 - q^n >= 0.975: 368 for p99. Fewer can never PASS.
    """
    return math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(q))


def effective_samples(samples: npt.NDArray[np.float64]) -> int:
    """n / (1 + 2 sum of autocorrelations), by Geyer's initial positive sequence (Statistical Science 7, 1992).

    Ranks stand in for the values: a single stall must not hide the dependence of the rest.
    """
    count = len(samples)
    if count < 4 or float(np.ptp(samples)) == 0.0:
        return count
    ranks = np.argsort(np.argsort(samples, kind="stable"), kind="stable").astype(np.float64)
    centred = ranks - ranks.mean()
    padded = np.fft.rfft(centred, 2 * count)
    covariance = np.fft.irfft(padded * np.conj(padded))[:count]
    correlation = covariance / covariance[0]
    total = 0.0
    for lag in range(1, count - 1, 2):
        pair = float(correlation[lag] + correlation[lag + 1])
        if pair <= 0:
            break
        total += pair
    return max(1, min(count, math.floor(count / (1 + 2 * total))))


def _binomial_quantile(count: int, p: float, probability: float) -> int:
    """The smallest k with P(Binomial(count, p) <= k) >= probability."""
    low, high = -1, count
    while high - low > 1:
        middle = (low + high) // 2
        if _binomial_cdf(middle, count, p) >= probability:
            high = middle
        else:
            low = middle
    return high


def _binomial_cdf(k: int, count: int, p: float) -> float:
    """P(Binomial(count, p) <= k), summed from logarithms so that no count overflows."""
    if k < 0 or p >= 1:
        return 0.0 if k < count else 1.0
    if k >= count or p <= 0:
        return 1.0
    ks = np.arange(k + 1)
    logs = _log_choose(count)[: k + 1] + ks * math.log(p) + (count - ks) * math.log1p(-p)
    return min(1.0, float(np.exp(logs).sum()))


def _log_choose(count: int) -> npt.NDArray[np.float64]:
    """log of the binomial coefficients (count over 0..count)."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    chosen: npt.NDArray[np.float64] = logs[count] - logs - logs[::-1]
    return chosen


def _solve(function: Callable[[float], float]) -> float:
    """The zero in 0..1 of a function that grows, by bisection to 1e-12."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
