"""Services that stall, drift or remember, at a fixed rate and with known quantiles: intervals, verdicts, and the naive
comparison beside them, which fails.

tests/latency/test_stats.py and test_verdict.py have the same for what is independent and for AR(1), with fewer runs.
"""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.latency import closed, fixed_rate, measure
from tests.latency.services import PERIOD_MS, N, covered, drift, drift_quantile, passes, queued, stalls, stalls_quantile


@pytest.mark.parametrize(("q", "naively"), [(0.5, 0.9), (0.9, 0.65), (0.99, 0.85)])
def test_the_interval_covers_it_where_requests_wait_for_a_stall(q, naively):
    rows = stalls(np.random.default_rng(int(100 * q)), 500, N)
    ours, naive = covered(rows, q, stalls_quantile(q))
    assert ours >= 0.88
    assert naive < naively


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
def test_the_interval_covers_it_while_the_service_drifts(q):
    """Requests that are independent and not alike: the binomial of the mean share is the widest (Hoeffding, Annals of
    Mathematical Statistics 27, 1956)."""
    ours, _ = covered(drift(np.random.default_rng(int(100 * q)), 200, N), q, drift_quantile(q))
    assert ours >= 0.93


def test_a_budget_met_exactly_hardly_ever_passes_where_it_stalls():
    ours, naive = passes(stalls(np.random.default_rng(1), 300, N), stalls_quantile(0.99))
    assert ours <= 0.06
    assert naive > 0.4


def test_a_budget_met_exactly_hardly_ever_passes_while_it_drifts():
    ours, naive = passes(drift(np.random.default_rng(2), 200, N), drift_quantile(0.99))
    assert ours <= 0.06
    assert naive > 0.4


@pytest.mark.slow  # 1000 runs of each, since 0.1 % is to be told
@pytest.mark.parametrize("name", ["lognormal", "bimodal", "ar1"])
def test_a_false_pass_is_as_rare_as_promised(sources, name):
    """At most 6 % at the budget, and at 5 % over it 0.1 % where requests are independent."""
    source = sources[name]
    rows = source.draw(np.random.default_rng(11), 1000, N)
    ours, naive = passes(rows[:500], source.quantile(0.99))
    assert ours <= 0.06
    assert naive > 0.4
    if name != "ar1":
        assert passes(rows, source.quantile(0.99) / 1.05)[0] <= 0.001


@pytest.mark.slow  # 12 000 requests a run
@pytest.mark.parametrize(("n", "runs", "most", "naively"), [(1000, 400, 0.02, 0.3), (12_000, 300, 0.001, 0.01)])
def test_requests_that_remember_tell_5_percent_apart_only_where_there_are_many(sources, n, runs, most, naively):
    """AR(1) with 0.9: 5 % are less than the interval of 1000 requests is wide, and about 1 % of such runs PASS. A test
    that allows 5 % of errors at the budget cannot do better; 12 000 requests keep the 0.1 %."""
    source = sources["ar1"]
    ours, naive = passes(source.draw(np.random.default_rng(12), runs, n), source.quantile(0.99) / 1.05)
    assert ours <= most
    assert naive > naively


def test_the_recursion_is_what_a_clock_measures(new_clock):
    """The services above, one by one on the simulated clock of `measure`."""
    random = np.random.default_rng(4)
    services = np.where(random.random(400) < 0.02, 70.0, random.lognormal(0.7, 0.2, 400))
    clock = new_clock()
    measured = measure(clock.serving(services), fixed_rate(1e3 / PERIOD_MS, 400), clock.timer).latencies_ms
    np.testing.assert_allclose(measured, queued(services[None], PERIOD_MS)[0], atol=1e-3)
    clock = new_clock()
    assert np.allclose(measure(clock.serving(services), closed(400), clock.timer).latencies_ms, services, atol=1e-5)
