"""Services whose quantiles are known: some stall, drift or remember; and what is said of them, ours and naively."""

from __future__ import annotations

import collections
import functools
import math
from statistics import NormalDist

import numpy as np

from edgekit.budget import PASS, parse_budget
from edgekit.latency import judge_latency
from edgekit.latency.compare import compare, slower_or_not
from edgekit.latency.stats import effective_samples, quantile

N = 1000
PERIOD_MS = 10.0
_BURN_IN = 100


def queued(services, period_ms: float):
    """Latencies [runs, n] of requests that come every `period_ms` and are served one after the other, in ms: Lindley's
    recursion (Proc. Cambridge Phil. Soc. 48, 1952)."""
    wait, latencies = np.zeros(len(services)), np.empty_like(services)
    for index in range(services.shape[1]):
        latencies[:, index] = wait + services[:, index]
        wait = np.maximum(0, latencies[:, index] - period_ms)
    return latencies


def stalls(random: np.random.Generator, runs: int, n: int):
    """2 ms at 100 a second; one request in 200 takes 60 to 140 ms, and those behind it wait."""
    shape = (runs, n + _BURN_IN)
    services = random.lognormal(math.log(2), 0.2, shape)
    late = random.random(shape) < 0.005
    return queued(np.where(late, 60 + 80 * random.random(shape), services), PERIOD_MS)[:, _BURN_IN:]


def drift(random: np.random.Generator, runs: int, n: int):
    """Gets slower by a half from the first request to the last, as a machine that warms up."""
    return random.lognormal(0, 0.3, (runs, n)) * (1 + 0.5 * np.arange(n) / n)


@functools.cache
def stalled_requests():
    """Four million latencies of `stalls`, in order."""
    return np.sort(stalls(np.random.default_rng(99), 2000, 2000).ravel())


def stalls_quantile(q: float) -> float:
    """Of four million requests: no formula has it."""
    return float(stalled_requests()[math.ceil(q * len(stalled_requests())) - 1])


def drift_quantile(q: float) -> float:
    """Of a request at a random moment of the run, by bisection of the mean of all moments' distributions."""
    shifts = np.log(1 + 0.5 * np.arange(N) / N)
    low, high = 0.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        share = np.mean([NormalDist().cdf((math.log(middle) - shift) / 0.3) for shift in shifts])
        low, high = (middle, high) if share < q else (low, middle)
    return high


def covered(rows, q: float, true: float) -> tuple[float, float]:
    """How often the interval holds the true quantile: ours, and one that takes all samples for independent."""
    ours = [quantile(row, q, effective_samples(row, q)) for row in rows]
    naive = [quantile(row, q) for row in rows]
    return tuple(np.mean([item.low <= true <= item.high for item in found]) for found in (ours, naive))


def passes(rows, budget_ms: float) -> tuple[float, float]:
    """How often p99 <= budget_ms is said to hold: by ours, and by the naive comparison of one figure."""
    (limit,) = parse_budget(f"p99_ms<={budget_ms!r}")
    ours = np.mean([judge_latency(limit, row, None).outcome == PASS for row in rows])
    return ours, np.mean(np.quantile(rows, 0.99, axis=1, method="inverted_cdf") <= budget_ms)


def ar1(random: np.random.Generator, runs: int, n: int, memory: float):
    """Lognormal latencies in ms, about 4 and spread by 0.3; `memory` of each moment is what it was before."""
    noise = random.normal(size=(n + 100, runs))
    series = noise.copy()
    for step in range(1, len(series)):
        series[step] = memory * series[step - 1] + math.sqrt(1 - memory**2) * noise[step]
    return 4 * np.exp(0.3 * series[100:]).T


def verdicts(n: int, memory: float, factor: float, pairs: int):
    """Comparisons of `pairs` pairs of runs, B `factor` times as slow as A, and how often each word was the verdict."""
    random = np.random.default_rng([n, round(10 * memory), round(1000 * factor)])
    first, second = ar1(random, pairs, n, memory), factor * ar1(random, pairs, n, memory)
    found = [compare(a, b) for a, b in zip(first, second, strict=True)]
    return found, collections.Counter(map(slower_or_not, found))
