"""What a number of latencies allows to say: quantiles and rates with exact intervals, never a bare mean.

The interval of a quantile is that of order statistics: the number of samples below the true q-quantile is binomial
(n, q), whatever the distribution, so two ranks enclose it with a known probability (David & Nagaraja, Order
Statistics, 2003, section 7.1). The interval of a rate is Clopper & Pearson's (Biometrika 26, 1934), which is exact too.
Both assume independent samples; dependence makes the effective number of samples smaller than n.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
_LEAST_BEYOND = 20
QUANTILES = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p999_ms": 0.999}


@dataclass(frozen=True)
class Interval:
    """An estimate with its two-sided interval; an end that the samples cannot give is infinite."""

    value: float
    low: float
    high: float

    @property
    def ends(self) -> str:
        """Both, for a person."""
        return f"{self.low:.4g} .. {self.high:.4g}"


@dataclass(frozen=True)
class LatencySummary:
    """All times in ms. `jitter_ms` is p99 - p50; `deadline_miss` is a fraction, None without a deadline.

    `effective_n` says for each of them how many independent samples the n are worth.
    """

    n: int
    effective_n: dict[str, int]
    mean_ms: float
    p50_ms: Interval
    p90_ms: Interval
    p99_ms: Interval
    p999_ms: Interval
    jitter_ms: float
    deadline_miss: Interval | None

    def lines(self, deadline_ms: float | None, names: tuple[str, ...] = ("p50", "p90", "p99")) -> Iterator[str]:
        """For a person: these quantiles with their intervals, and how often the deadline was missed."""
        quantiles = {"p50": self.p50_ms, "p90": self.p90_ms, "p99": self.p99_ms, "p99.9": self.p999_ms}
        for name in names:
            found, worth = quantiles[name], self.effective_n[f"{name.replace('.', '')}_ms"]
            yield f"  {name} {found.value:.4g} ms, with 95 % confidence {found.ends}, worth {worth} independent ones"
        if self.deadline_miss is not None:
            miss = self.deadline_miss
            ends = f"{miss.low:.2%} .. {miss.high:.2%}"
            yield f"  deadline of {deadline_ms:.4g} ms missed by {miss.value:.2%}, with 95 % confidence {ends}"


def summarise(latencies_ms: npt.NDArray[np.float64], deadline_ms: float | None = None) -> LatencySummary:
    """Summarise latencies in ms, in the order in which they were measured; at least one."""
    worth = {key: effective_samples(latencies_ms, q) for key, q in QUANTILES.items()}
    found = {key: quantile(latencies_ms, q, worth[key]) for key, q in QUANTILES.items()}
    missed = None
    if deadline_ms is not None:
        slow = latencies_ms > deadline_ms
        worth["deadline_miss"] = effective_samples(latencies_ms, 1 - float(slow.mean()))
        missed = miss_rate(slow, worth["deadline_miss"])
    return LatencySummary(
        n=len(latencies_ms),
        effective_n=worth,
        mean_ms=float(latencies_ms.mean()),
        jitter_ms=found["p99_ms"].value - found["p50_ms"].value,
        deadline_miss=missed,
        **found,
    )


def quantile(
    samples: npt.NDArray[np.float64], q: float, effective: int | None = None, confidence: float = CONFIDENCE
) -> Interval:
    """The q-quantile of `samples` with its two-sided order-statistic interval at `confidence`.

    With `effective` < n independent samples, the ranks are taken for that many and stretched to n.
    """
    ordered = np.sort(samples)
    count = len(ordered)
    independent = count if effective is None else min(effective, count)
    value = float(ordered[min(count - 1, math.ceil(q * count) - 1)])
    tail = (1 - confidence) / 2
    # The largest rank l with P(Binomial < l) <= tail, and the smallest u with P(Binomial >= u) <= tail.
    low = binomial_quantile(independent, q, tail)
    high = binomial_quantile(independent, q, 1 - tail) + 1
    low_value = float(ordered[(low - 1) * count // independent]) if low >= 1 else -math.inf
    high_value = float(ordered[-(-high * count // independent) - 1]) if high <= independent else math.inf
    return Interval(value, max(low_value, 0.0), high_value)


def miss_rate(missed: npt.NDArray[np.bool_], effective: int | None = None, confidence: float = CONFIDENCE) -> Interval:
    """The fraction of misses with Clopper & Pearson's interval at `confidence`, on `effective` independent samples."""
    count, misses = len(missed), int(np.count_nonzero(missed))
    independent = count if effective is None else min(effective, count)
    # Among fewer samples the misses are a fraction of themselves: each end takes the less favourable whole number.
    fewest, most = misses * independent // count, -(-misses * independent // count)
    tail = (1 - confidence) / 2
    low = 0.0 if fewest == 0 else _solve(lambda p: 1 - binomial_cdf(fewest - 1, independent, p) - tail)
    high = 1.0 if most == independent else _solve(lambda p: tail - binomial_cdf(most, independent, p))
    return Interval(misses / count, low, high)


def effective_samples(samples: npt.NDArray[np.float64], q: float) -> int:
    """How many independent samples these are worth for the q-quantile: n / (1 + 2 sum of autocorrelations).

    The autocorrelations are those of "slower than the q-quantile", since their sum is what dependence adds to the
    variance of the empirical distribution there (Wu, Annals of Statistics 33, 2005): a slow drift of the clock makes
    neighbours alike around the median, and says nothing about single late requests. At least 20 samples stand on
    either side, a level at which dependence is rather stronger. The sum ends by Geyer's initial positive sequence
    (Statistical Science 7, 1992).
    """
    count = len(samples)
    few = min(_LEAST_BEYOND, count // 2)
    above = min(max(round(count * (1 - q)), few), count - few)
    if count < 4 or above == 0:
        return count
    threshold = np.partition(samples, count - above - 1)[count - above - 1]
    slow = samples > threshold
    if not slow.any():  # as many are equal at the top
        slow = samples >= threshold
    if slow.all():
        return count
    centred = slow - slow.mean()
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


def binomial_quantile(count: int, p: float, probability: float) -> int:
    """The smallest k with P(Binomial(count, p) <= k) >= probability."""
    low, high = -1, count
    while high - low > 1:
        middle = (low + high) // 2
        if binomial_cdf(middle, count, p) >= probability:
            high = middle
        else:
            low = middle
    return high


def binomial_cdf(k: int, count: int, p: float) -> float:
    """P(Binomial(count, p) <= k), summed from logarithms so that no count overflows."""
    if k < 0 or p >= 1:
        return 0.0 if k < count else 1.0
    if k >= count or p <= 0:
        return 1.0
    ks = np.arange(k + 1)
    logs = _log_choose(count)[: k + 1] + ks * math.log(p) + (count - ks) * math.log1p(-p)
    return min(1.0, float(np.exp(logs).sum()))


@functools.lru_cache(maxsize=4)
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
