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
def test_it_measures_twice_what_is_needed_and_100_at_least(clock, needed):
    samples = sample(clock.serving(itertools.repeat(1.0)), Plan(needed), clock.timer)
    assert len(samples.done_ns) == max(100, 2 * max(needed.values(), default=0))
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


def stalled(at_s: float, stall_s: float):
    """5 ms a request at 100 a second, but for one that takes `stall_s`."""
    return itertools.chain([5.0] * (101 + round(at_s * 100)), [1e3 * stall_s], itertools.repeat(5.0))


def test_a_stall_at_the_end_counts_as_one_in_the_middle(new_clock):
    """200 frames are due while it stalls for 2 s; those that it leaves waiting at the end of the time count too."""
    late = {}
    for at_s in (30, 59):
        clock = new_clock()
        samples = sample(clock.serving(stalled(at_s, 2)), Plan({}, requests=10**6, fps=100), clock.timer)
        assert len(samples.done_ns) == pytest.approx(6000, abs=2)
        late[at_s] = int((samples.latencies_ms > 10).sum())
    assert late[30] == pytest.approx(2 * 199, abs=3)
    assert late[59] >= 97  # of the 100 that were due in the last second


def test_a_round_begins_with_those_who_wait(new_clock):
    """10.5 ms a request at 100 a second: the wait grows by 0.5 ms a frame, over the rounds too."""
    clock = new_clock()
    samples = sample(clock.serving(itertools.repeat(10.5)), Plan({0.5: 5}, fps=100, duration_s=20), clock.timer)
    latencies = samples.latencies_ms
    assert len(latencies) > 100, "the samples depend on each other, and another round is asked for"
    np.testing.assert_allclose(np.diff(latencies), 0.5, atol=1e-6)
    assert samples.utilisation(100) == pytest.approx(1.05, abs=0.06)


def test_an_idle_system_keeps_the_beat_between_rounds(new_clock):
    clock = new_clock()
    times = (5.0 if index // 150 % 2 else 2.0 for index in itertools.count())
    samples = sample(clock.serving(times), Plan({0.5: 40}, fps=100, duration_s=9), clock.timer)
    assert len(samples.done_ns) > 200
    assert set(np.diff(samples.intended_ns) % 10_000_000) == {0}
    assert samples.latencies_ms.max() == 5.0
    assert samples.utilisation(100) == pytest.approx(0.35, abs=0.16)
