"""The statistics against SciPy's exact distributions, and against services whose quantiles are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

stats = pytest.importorskip("scipy.stats", reason="SciPy is the oracle of the exact intervals")

from edgekit.latency.stats import (  # noqa: E402
    binomial_cdf,
    binomial_quantile,
    effective_samples,
    miss_rate,
    quantile,
    summarise,
)


@settings(max_examples=80, deadline=None)
@given(count=st.integers(1, 3000), p=st.floats(1e-4, 0.9999), data=st.data())
def test_the_binomial_distribution(count, p, data):
    k = data.draw(st.integers(-1, count))
    assert binomial_cdf(k, count, p) == pytest.approx(stats.binom.cdf(k, count, p), abs=1e-9)
    probability = data.draw(st.sampled_from([0.025, 0.05, 0.5, 0.95, 0.975]))
    wanted = stats.binom.ppf(probability, count, p)
    # Where a sum of probabilities meets the wanted one in the last place, either neighbour is right.
    tie = abs(stats.binom.cdf(min(binomial_quantile(count, p, probability), wanted), count, p) - probability) < 1e-9
    assert abs(binomial_quantile(count, p, probability) - wanted) <= tie


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 2000), confidence=st.sampled_from([0.9, 0.95]), data=st.data())
def test_clopper_and_pearson(count, confidence, data):
    misses = data.draw(st.integers(0, count))
    found = miss_rate(np.arange(count) < misses, confidence=confidence)
    exact = stats.binomtest(misses, count).proportion_ci(confidence, "exact")
    assert found.value == misses / count
    assert (found.low, found.high) == (pytest.approx(exact.low, abs=1e-6), pytest.approx(exact.high, abs=1e-6))


@settings(max_examples=60, deadline=None)
@given(count=st.integers(2, 2000), data=st.data())
def test_a_rate_of_dependent_samples_is_rounded_unfavourably(count, data):
    """Seven misses among 100 that are worth 30 are 2.1 among 30: the interval holds that of 2.1, by either end."""
    misses, effective = data.draw(st.integers(0, count)), data.draw(st.integers(1, count))
    found = miss_rate(np.arange(count) < misses, effective)
    share = misses * effective / count
    low = stats.beta.ppf(0.025, share, effective - share + 1) if misses else 0.0
    high = stats.beta.ppf(0.975, share + 1, effective - share) if misses < count else 1.0
    assert found.value == misses / count
    assert 0 <= found.low <= low + 1e-6
    assert high - 1e-6 <= found.high <= 1


def covered(rows, q: float, true: float, *, naive: bool = False) -> float:
    worth = [None if naive else effective_samples(row, q) for row in rows]
    found = [quantile(row, q, count) for row, count in zip(rows, worth, strict=True)]
    return sum(item.low <= true <= item.high for item in found) / len(found)


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["lognormal", "bimodal"])
def test_the_interval_covers_the_true_quantile(sources, name, q):
    """At least 93 % of 400 runs of 1000 independent samples; the nominal 95 % are a lower bound for exact ranks."""
    rows = sources[name].draw(np.random.default_rng(int(q * 100)), 400, 1000)
    assert covered(rows, q, sources[name].quantile(q), naive=True) >= 0.93
    assert covered(rows, q, sources[name].quantile(q)) >= 0.93, "found to be independent, and treated alike"


@pytest.mark.parametrize(("q", "naively"), [(0.5, 0.6), (0.9, 0.7), (0.99, 0.85)])
def test_dependence_widens_the_interval(sources, q, naively):
    """AR(1) with 0.9: the naive interval covers far too seldom; ours at least 88 % of 300 runs."""
    rows = sources["ar1"].draw(np.random.default_rng(0), 300, 1000)
    assert covered(rows, q, sources["ar1"].quantile(q), naive=True) < naively
    assert covered(rows, q, sources["ar1"].quantile(q)) >= 0.88


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99, 0.999])
def test_independent_samples_stay_whole(q):
    random = np.random.default_rng(1)
    assert np.median([effective_samples(random.normal(size=1000), q) for _ in range(50)]) > 700
    assert effective_samples(np.ones(10), q) == 10


def test_a_slow_drift_says_nothing_about_single_late_requests():
    """The clock drifts up and down by 5 %, and one request in 30 is late on its own."""
    random = np.random.default_rng(2)
    drift = 1 + 0.05 * np.sin(np.arange(3000) / 200) + 0.001 * random.random(3000)
    latencies = drift + (random.random(3000) < 1 / 30) * (1 + random.random(3000))
    assert effective_samples(latencies, 0.5) < 100
    assert effective_samples(latencies, 0.99) > 2000


def test_dependence_shows_also_in_latencies_that_are_equal():
    """All 1 ms and then all 2 ms: two regimes, whatever the quantile."""
    latencies = np.repeat([1.0, 2.0], 500)
    assert all(effective_samples(latencies, q) < 20 for q in (0.1, 0.5, 0.9, 0.99))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([1.0, 1.5, 2.0, 9.0]), min_size=1, max_size=60), st.floats(-0.5, 1.5))
def test_samples_are_worth_between_one_and_themselves(values, q):
    assert 1 <= effective_samples(np.array(values), q) <= len(values)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=200), st.floats(0.01, 0.99), st.data())
def test_an_interval_holds_its_value_and_widens_with_dependence(values, q, data):
    rows, effective = np.array(values), data.draw(st.integers(1, len(values)))
    found, whole, less = quantile(rows, q, effective), quantile(rows, q), quantile(rows, q, confidence=0.9)
    assert found.value == whole.value == np.quantile(rows, q, method="inverted_cdf")
    assert 0 <= whole.low <= less.low <= whole.value <= less.high <= whole.high
    assert found.low <= found.value <= found.high


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 600), st.sampled_from([0.5, 0.1, 0.01]), st.data())
def test_an_interval_ends_where_that_of_the_slower_ones_does(count, share, data):
    """The (1 - share)-quantile is below its upper end as surely as at most `share` of all are slower than that."""
    effective = data.draw(st.integers(1, count))
    found = quantile(np.arange(count) + 1.0, 1 - share, effective)

    def slower(than: float):
        return miss_rate(np.arange(count) + 1.0 > than, effective)

    if found.high < math.inf:
        assert slower(found.high).high <= share
    assert slower(min(found.high, count + 1) - 1).high > share
    assert slower(found.low).low <= share
    if found.low > 0:
        assert slower(found.low - 1).low > share


def test_too_few_samples_bound_nothing():
    values = np.random.default_rng(0).random(400)
    assert math.isinf(quantile(values[:367], 0.99).high)
    assert not math.isinf(quantile(values[:368], 0.99).high)
    assert math.isinf(quantile(values[:298], 0.99, confidence=0.9).high)
    assert not math.isinf(quantile(values[:299], 0.99, confidence=0.9).high)
    assert math.isinf(quantile(values[:1], 0.5).high)


def test_a_summary():
    found = summarise(np.array([1.0, 2.0, 3.0, 4.0, 100.0]), deadline_ms=50)
    assert (found.n, found.mean_ms, found.p50_ms.value, found.p99_ms.value) == (5, 22.0, 3.0, 100.0)
    assert found.jitter_ms == 97.0
    assert found.deadline_miss is not None
    assert found.deadline_miss.value == 0.2
    assert list(found.effective_n) == ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "deadline_miss"]


def test_a_summary_without_a_deadline():
    found = summarise(np.array([7.0]))
    assert found.deadline_miss is None
    assert found.effective_n == {"p50_ms": 1, "p90_ms": 1, "p99_ms": 1, "p999_ms": 1}
    assert (found.p50_ms.low, found.p50_ms.value, found.p50_ms.high) == (0.0, 7.0, math.inf)
