"""The statistics against SciPy's exact distributions, and against services whose quantiles are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

stats = pytest.importorskip("scipy.stats", reason="SciPy is the oracle of the exact intervals")

from edgekit.latency.stats import (  # noqa: E402
    _binomial_cdf,
    _binomial_quantile,
    effective_samples,
    miss_rate,
    quantile,
    samples_needed,
    summarise,
)


@settings(max_examples=80, deadline=None)
@given(count=st.integers(1, 3000), p=st.floats(1e-4, 0.9999), data=st.data())
def test_the_binomial_distribution(count, p, data):
    k = data.draw(st.integers(-1, count))
    assert _binomial_cdf(k, count, p) == pytest.approx(stats.binom.cdf(k, count, p), abs=1e-9)
    probability = data.draw(st.sampled_from([0.025, 0.5, 0.975]))
    wanted = stats.binom.ppf(probability, count, p)
    # Where a sum of probabilities meets the wanted one in the last place, either neighbour is right.
    tie = abs(stats.binom.cdf(min(_binomial_quantile(count, p, probability), wanted), count, p) - probability) < 1e-9
    assert abs(_binomial_quantile(count, p, probability) - wanted) <= tie


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 2000), data=st.data())
def test_clopper_and_pearson(count, data):
    misses = data.draw(st.integers(0, count))
    found = miss_rate(np.arange(count) < misses)
    exact = stats.binomtest(misses, count).proportion_ci(0.95, "exact")
    assert found.value == misses / count
    assert (found.low, found.high) == (pytest.approx(exact.low, abs=1e-6), pytest.approx(exact.high, abs=1e-6))


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["lognormal", "bimodal"])
def test_the_interval_covers_the_true_quantile(name, q):
    """At least 93 % of 400 runs of 1000 independent samples; the nominal 95 % are a lower bound for exact ranks."""
    random = np.random.default_rng(int(q * 100))
    draws = random.lognormal(0, 0.5, (400, 1000))
    true = math.exp(0.5 * stats.norm.ppf(q))
    if name == "bimodal":
        slow = random.random(draws.shape) < 0.05
        draws = np.where(slow, 10 + random.random(draws.shape), random.random(draws.shape))
        true = q / 0.95 if q < 0.95 else 10 + (q - 0.95) / 0.05
    covered = sum(interval.low <= true <= interval.high for interval in (quantile(row, q) for row in draws))
    assert covered >= 0.93 * 400


def test_dependence_widens_the_interval():
    """AR(1) with 0.9: the naive interval covers far too seldom; ours at least 88 % of 300 runs."""
    random = np.random.default_rng(0)
    noise = random.normal(size=(300, 2000))
    series = np.zeros_like(noise)
    for step in range(1, noise.shape[1]):
        series[:, step] = 0.9 * series[:, step - 1] + math.sqrt(1 - 0.81) * noise[:, step]
    rows = np.exp(series[:, 200:])
    naive = sum(item.low <= 1 <= item.high for item in (quantile(row, 0.5) for row in rows))
    ours = sum(item.low <= 1 <= item.high for item in (quantile(row, 0.5, effective_samples(row)) for row in rows))
    assert naive < 0.6 * 300
    assert ours >= 0.88 * 300


def test_independent_samples_stay_whole():
    random = np.random.default_rng(1)
    assert np.median([effective_samples(random.normal(size=1000)) for _ in range(50)]) > 700
    assert effective_samples(np.ones(10)) == 10


def test_too_few_samples_bound_nothing():
    assert samples_needed(0.99) == 368
    values = np.random.default_rng(0).random(400)
    assert math.isinf(quantile(values[:367], 0.99).high)
    assert not math.isinf(quantile(values[:369], 0.99).high)
    assert math.isinf(quantile(values[:1], 0.5).high)


def test_a_summary():
    found = summarise(np.array([1.0, 2.0, 3.0, 4.0, 100.0]), deadline_ms=50)
    assert (found.n, found.mean_ms, found.p50_ms.value, found.p99_ms.value) == (5, 22.0, 3.0, 100.0)
    assert found.jitter_ms == 97.0
    assert found.deadline_miss is not None
    assert found.deadline_miss.value == 0.2
