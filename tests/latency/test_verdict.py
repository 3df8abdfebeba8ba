"""Verdicts on services whose quantiles are known: how often they are wrong, and what they ask for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.budget import FAIL, INCONCLUSIVE, PASS, Finding, parse_budget
from edgekit.errors import UsageError
from edgekit.latency import judge_latency, samples_needed

RUNS = 400


def judged(budget: str, latencies_ms, deadline_ms: float | None = None) -> Finding:
    (limit,) = parse_budget(budget)
    return judge_latency(limit, np.asarray(latencies_ms, np.float64), deadline_ms)


def spread(count: int):
    """Between 1 and 2 ms, spread by the golden ratio: none is as its neighbours are."""
    return 1 + np.arange(count) * 0.6180339887498949 % 1


@pytest.mark.parametrize(
    ("budget", "needed"),
    [
        ("p50_ms<=1", {0.5: 5}),
        ("p90_ms<=1", {0.9: 29}),
        ("p99_ms<=1", {0.99: 299}),
        ("p999_ms<=1", {0.999: 2995}),
        ("deadline_miss<=0.001", {0.999: 2995}),
        ("deadline_miss<=0", {}),
        ("deadline_miss<=1", {}),
        ("sqnr_db>=30,top1>=0.7", {}),
        ("p90_ms<=1,p99_ms<=2,top1>=0.7", {0.9: 29, 0.99: 299}),
        ("p99_ms<=1,deadline_miss<=0.01", {0.99: 299}),
    ],
)
def test_how_many_samples_a_budget_needs(budget, needed):
    assert samples_needed(parse_budget(budget)) == needed


@pytest.mark.parametrize("budget", ["jitter_ms<=1", "jitter_ms<=1,p99_ms<=2", "p99_ms<=2,jitter_ms<=1"])
def test_jitter_needs_more_than_its_quantile_alone(budget):
    assert samples_needed(parse_budget(budget))[0.99] == 368


@pytest.mark.parametrize("budget", ["p50_ms<=9", "p90_ms<=9", "p99_ms<=9", "p999_ms<=9"])
def test_one_sample_less_than_needed_never_passes(budget):
    (needed,) = samples_needed(parse_budget(budget)).values()
    few = judged(budget, spread(needed - 1))
    assert (few.outcome, few.missing, few.high) == (INCONCLUSIVE, 1, math.inf)
    assert str(few).endswith("about 1 samples missing")
    enough = judged(budget, spread(needed))
    assert (enough.outcome, enough.missing) == (PASS, None)
    assert enough.high == spread(needed).max()


@pytest.mark.parametrize("budget", ["p50_ms<=0.9", "p90_ms<=1.5", "p99_ms<=1.9", "deadline_miss<=0.01"])
def test_it_fails_when_the_budget_is_surely_broken(budget):
    found = judged(budget, spread(1000), deadline_ms=1.9)
    assert (found.outcome, found.missing) == (FAIL, None)
    assert found.low > found.limit.value


def test_at_the_budget_no_number_of_samples_decides():
    """Exactly one in a hundred is slower."""
    found = judged("p99_ms<=5", np.where(np.arange(1000) % 100 == 50, 9.0, 1.0))
    assert (found.outcome, found.missing) == (INCONCLUSIVE, None)


@pytest.mark.parametrize("name", ["lognormal", "bimodal", "ar1"])
def test_a_budget_that_is_met_exactly_hardly_ever_passes(sources, name):
    """1000 samples whose true p99 is the budget: at most 6.5 % of the runs PASS; naively compared, over 40 % do."""
    source = sources[name]
    rows = source.draw(np.random.default_rng(7), RUNS, 1000)
    budget = f"p99_ms<={source.quantile(0.99)!r}"
    outcomes = [judged(budget, row).outcome for row in rows]
    assert outcomes.count(PASS) <= 0.065 * RUNS
    assert outcomes.count(FAIL) <= 0.065 * RUNS, "nor may it be refused for nothing"
    naive = np.quantile(rows, 0.99, axis=1, method="inverted_cdf") <= source.quantile(0.99)
    assert naive.mean() > 0.4


@pytest.mark.parametrize("name", ["lognormal", "bimodal"])
def test_a_service_that_is_5_percent_over_does_not_pass(sources, name):
    rows = sources[name].draw(np.random.default_rng(8), RUNS, 1000)
    budget = f"p99_ms<={sources[name].quantile(0.99) / 1.05!r}"
    assert [judged(budget, row).outcome for row in rows].count(PASS) <= 0.005 * RUNS


@pytest.mark.parametrize(
    ("budget", "slow", "count"),
    [
        ("p50_ms<=2", 0.35, 50),
        ("p90_ms<=2", 0.04, 60),
        ("p90_ms<=2", 0.17, 60),
        ("p99_ms<=2", 0.001, 400),
        ("p99_ms<=2", 0.025, 400),
        ("deadline_miss<=0.1", 0.04, 60),
    ],
)
def test_the_missing_samples_decide_in_most_runs(budget, slow, count):
    """Runs that say how many are missing get so many more of the same service, of which the share `slow` is late."""
    random = np.random.default_rng(count)
    decided, right = [], PASS if slow < 1 - {"p50": 0.5, "p90": 0.9, "p99": 0.99, "dea": 0.9}[budget[:3]] else FAIL
    while len(decided) < 150:
        latencies = random.random(count) + 3 * (random.random(count) < slow)
        first = judged(budget, latencies, deadline_ms=2)
        if first.missing is None:
            continue
        more = random.random(first.missing) + 3 * (random.random(first.missing) < slow)
        decided.append(judged(budget, np.concatenate([latencies, more]), deadline_ms=2).outcome)
    assert decided.count(INCONCLUSIVE) < 0.5 * len(decided)
    assert decided.count(right) > 0.5 * len(decided)


def test_dependent_samples_are_missing_by_the_request():
    """Where each latency comes 30 times in a row, 30 times as many requests are missing."""
    latencies = np.random.default_rng(3).permutation(spread(100))
    once, often = (judged("p50_ms<=1.55", np.repeat(latencies, times)) for times in (1, 30))
    assert once.outcome == often.outcome == INCONCLUSIVE
    assert once.missing is not None
    assert often.missing == pytest.approx(30 * once.missing, rel=0.1)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([("p50_ms", 0.5), ("p90_ms", 0.1), ("p99_ms", 0.01), ("p999_ms", 0.001)]),
    st.integers(1, 2000),
    st.integers(1, 8),
    st.floats(0.8, 1.2),
    st.integers(0, 2**32 - 1),
)
def test_a_deadline_and_a_quantile_ask_the_same(quantile, count, repeated, closeness, seed):
    """That p99 is at most 5 ms, and that at most 1 % take longer than 5 ms: one question, and one answer."""
    key, share = quantile
    latencies = np.repeat(np.random.default_rng(seed).random(count), repeated)
    deadline_ms = float(np.quantile(latencies, min(1, (1 - share) * closeness), method="inverted_cdf"))
    by_quantile = judged(f"{key}<={deadline_ms!r}", latencies)
    by_misses = judged(f"deadline_miss<={share}", latencies, deadline_ms)
    assert (by_misses.outcome, by_misses.missing) == (by_quantile.outcome, by_quantile.missing)


def test_never_missing_a_deadline_cannot_be_shown():
    found = judged("deadline_miss<=0", spread(3000), deadline_ms=2)
    assert (found.outcome, found.missing, found.value) == (INCONCLUSIVE, None, 0.0)
    assert str(found).endswith("no number of samples decides")


def test_one_miss_shows_that_a_deadline_is_missed():
    """Also among requests that depend on each other."""
    late = np.linspace(1, 2, 3000)
    late[1234] = 3
    assert judged("deadline_miss<=0", late, deadline_ms=2.5).outcome == FAIL


def test_nothing_breaks_a_budget_that_allows_every_miss():
    assert judged("deadline_miss<=1", spread(10), deadline_ms=0.5).outcome == PASS


def test_misses_need_a_deadline():
    with pytest.raises(UsageError, match="expected a deadline") as error:
        judged("deadline_miss<=0.01", spread(10))
    assert "--fps" in error.value.next_step


def test_jitter_is_what_p99_adds_to_the_median():
    latencies = spread(1000)
    found = judged("jitter_ms<=2", latencies)
    ordered = np.sort(latencies)
    assert found.outcome == PASS
    assert found.value == ordered[989] - ordered[499]
    assert 0 < found.low < found.value < found.high < 1
    assert judged("jitter_ms<=0.3", latencies).outcome == FAIL
    close = judged("jitter_ms<=0.49", latencies)
    assert close.outcome == INCONCLUSIVE
    assert close.missing is not None
    assert close.missing > 0


def test_jitter_passes_from_368_samples_on():
    few = judged("jitter_ms<=2", spread(367))
    assert (few.outcome, few.high) == (INCONCLUSIVE, math.inf)
    assert few.missing is not None
    assert judged("jitter_ms<=2", spread(368)).outcome == PASS


def test_jitter_of_exactly_the_budget_hardly_ever_passes(sources):
    source = sources["lognormal"]
    rows = source.draw(np.random.default_rng(9), RUNS, 1000)
    budget = f"jitter_ms<={source.quantile(0.99) - source.quantile(0.5)!r}"
    assert [judged(budget, row).outcome for row in rows].count(PASS) <= 0.065 * RUNS
