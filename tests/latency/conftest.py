"""A clock that nobody waits for, and latencies whose quantiles are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest

from edgekit.latency import Timer

Rows = npt.NDArray[np.float64]
_SPREAD = 0.3
_BURN_IN = 200


class Clock:
    """Time passes only when someone works or sleeps."""

    def __init__(self) -> None:
        self.ns = 1_000
        self.timer = Timer(lambda: self.ns, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)

    def serving(self, times_ms: Iterable[float]) -> Callable[[], None]:
        left = iter(times_ms)
        return lambda: self.sleep(next(left) / 1e3)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def new_clock() -> type[Clock]:
    """For property tests, each example of which starts anew."""
    return Clock


@dataclass(frozen=True)
class Source:
    """`draw(random, runs, n)` gives latencies [runs, n] in ms, whose true quantiles are `quantile(q)`."""

    draw: Callable[[np.random.Generator, int, int], Rows]
    quantile: Callable[[float], float]


def _bimodal(random: np.random.Generator, runs: int, n: int) -> Rows:
    """One request in twenty takes ten times as long."""
    values = random.random((runs, n))
    return np.where(random.random((runs, n)) < 0.05, 10 + values, values)


def _ar1(random: np.random.Generator, runs: int, n: int) -> Rows:
    """Lognormal at each moment, and 0.9 of it is what it was before."""
    noise = random.normal(size=(runs, n + _BURN_IN))
    series = noise.copy()
    for step in range(1, series.shape[1]):
        series[:, step] = 0.9 * series[:, step - 1] + math.sqrt(1 - 0.81) * noise[:, step]
    return np.exp(_SPREAD * series[:, _BURN_IN:])


def _lognormal_quantile(q: float) -> float:
    return math.exp(_SPREAD * NormalDist().inv_cdf(q))


@pytest.fixture(scope="session")
def sources() -> dict[str, Source]:
    return {
        "lognormal": Source(lambda random, runs, n: random.lognormal(0, _SPREAD, (runs, n)), _lognormal_quantile),
        "bimodal": Source(_bimodal, lambda q: q / 0.95 if q < 0.95 else 10 + (q - 0.95) / 0.05),
        "ar1": Source(_ar1, _lognormal_quantile),
    }
