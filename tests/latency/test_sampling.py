"""How long to measure, on a simulated clock: until the samples suffice, or the time is over."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.latency import Plan, Samples, sample
from edgekit.latency.stats import effective_samples


def measured_s(samples: Samples) -> float:
    return float(samples.done_ns[-1] - samples.intended_ns[0]) / 1e9


def regimes(length: int, *, seed: int = 0):
    """About 1 ms and about 3 ms, `length` requests each in turn: within a regime, requests are alike."""
    random = np.random.default_rng(seed)
    for centre in itertools.cycle([1.0, 3.0]):
        yield from centre + 0.1 * random.random(length)


@pytest.mark.parametrize("needed", [{}, {0.5: 5}, {0.99: 299}, {0.9: 29, 0.999: 2995}])
def test_it_measures_twice_what_is_needed_and_50_at_least(clock, needed):
    samples = sample(clock.serving(itertools.repeat(1.0)), Plan(needed), clock.timer)
    assert len(samples.done_ns) == max(50, 2 * max(needed.values(), default=0))
    np.testing.assert_allclose(samples.latencies_ms, 1.0)


def test_it_goes_on_while_the_samples_depend_on_each_other(clock):
    needed = {0.5: 40}
    samples = sample(clock.serving(regimes(25)), Plan(needed, duration_s=600), clock.timer)
    assert len(samples.done_ns) > 10 * needed[0.5]
    assert effective_samples(samples.latencies_ms, 0.5) >= needed[0.5]


def test_each_quantile_needs_its_own_samples(clock):
    """Regimes show in the median; single late requests come when they like, and need no more than the usual."""
    random = np.random.default_rng(1)
    times = (time + 9 * (random.random() < 0.05) * random.random() for time in regimes(100))
    samples = sample(clock.serving(times), Plan({0.99: 299}, duration_s=600), clock.timer)
    assert len(samples.done_ns) == 2 * 299


def test_it_ends_when_the_time_is_over(clock):
    samples = sample(clock.serving(regimes(100)), Plan({0.5: 10**6}, duration_s=20), clock.timer)
    assert measured_s(samples) == pytest.approx(20, abs=0.005)


def test_it_ends_in_time_when_the_service_gets_slower(clock):
    times = itertools.chain([1.0] * 150, itertools.repeat(100.0))
    assert measured_s(sample(clock.serving(times), Plan({0.99: 299}, duration_s=2), clock.timer)) < 2.1


@pytest.mark.parametrize("needed", [{}, {0.99: 299}, {0.5: 10**6}])
def test_requests_are_exact(clock, needed):
    samples = sample(clock.serving(regimes(100)), Plan(needed, requests=700), clock.timer)
    assert len(samples.done_ns) == 700


def test_requests_are_exact_after_a_stall_too(clock):
    """The first request after the warm-up takes 5 s, and tells nothing about the others."""
    times = itertools.chain([1.0] * 100, [5000.0], itertools.repeat(1.0))
    assert len(sample(clock.serving(times), Plan({}, requests=700, duration_s=10), clock.timer).done_ns) == 700


def test_requests_end_with_the_time(clock):
    samples = sample(clock.serving(itertools.repeat(10.0)), Plan({}, requests=700, duration_s=2), clock.timer)
    assert len(samples.done_ns) == 200


def test_a_fixed_rate_is_kept_and_waiting_counts(clock):
    times = itertools.chain([2.0] * 101, [2.0] * 20, [50.0], itertools.repeat(2.0))
    samples = sample(clock.serving(times), Plan({}, requests=60, fps=100), clock.timer)
    np.testing.assert_array_equal(np.diff(samples.intended_ns), [10_000_000] * 59)
    np.testing.assert_allclose(samples.latencies_ms[18:28], [2, 2, 50, 42, 34, 26, 18, 10, 2, 2])


def test_a_fixed_rate_ends_with_the_time(clock):
    samples = sample(clock.serving(itertools.repeat(2.0)), Plan({0.999: 2995}, fps=100, duration_s=5), clock.timer)
    assert len(samples.done_ns) == 500
    assert measured_s(samples) < 5


def test_an_overloaded_rate_ends_with_the_time(clock):
    """15 ms for frames that come every 10 ms: each waits 5 ms longer than the one before."""
    samples = sample(clock.serving(itertools.repeat(15.0)), Plan({0.99: 299}, fps=100, duration_s=3), clock.timer)
    assert measured_s(samples) == pytest.approx(3, abs=0.016)
    np.testing.assert_allclose(samples.latencies_ms, 15 + 5 * np.arange(200))


@settings(max_examples=60, deadline=None)
@given(
    service_ms=st.floats(0.01, 2000),
    needed=st.integers(1, 3000),
    fps=st.none() | st.floats(1, 1000),
    duration_s=st.floats(0.1, 60),
)
def test_it_never_takes_longer_than_its_time_and_one_request(new_clock, service_ms, needed, fps, duration_s):
    clock = new_clock()
    plan = Plan({0.9: needed}, fps=fps, duration_s=duration_s)
    samples = sample(clock.serving(itertools.repeat(service_ms)), plan, clock.timer)
    longest = max(service_ms / 1e3, 1 / fps if fps else 0)
    assert len(samples.done_ns) >= 1
    assert measured_s(samples) <= duration_s + longest + 1e-6
    enough = len(samples.done_ns) >= max(50, 2 * needed)
    assert enough or measured_s(samples) >= duration_s - 2 * longest - 1e-6


def test_progress_is_told(clock):
    told = []
    sample(
        clock.serving(itertools.repeat(1.0)),
        Plan({}, requests=101),
        clock.timer,
        lambda what, done, total: told.append((what, done, total)),
    )
    assert told == [("measuring latency", done, 101) for done in (0, 50, 100)]


def test_a_service_that_takes_no_time_is_measured_too(clock):
    samples = sample(lambda: None, Plan({0.99: 299}), clock.timer)
    assert len(samples.done_ns) == 598
