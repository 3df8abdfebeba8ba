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
    """15 ms for frames that come every 10 ms: each waits 5 ms longer than the one before, the last ones until the end.

    Of the 300 that were due 200 were served; whoever came at 2.00 s has waited for 1 s.
    """
    samples = sample(clock.serving(itertools.repeat(15.0)), Plan({0.99: 299}, fps=100, duration_s=3), clock.timer)
    assert measured_s(samples) == pytest.approx(3, abs=0.016)
    assert (len(samples.done_ns), samples.answered) == (300, 200)
    np.testing.assert_allclose(samples.latencies_ms[:200], 15 + 5 * np.arange(200))
    np.testing.assert_allclose(samples.latencies_ms[200:], 1000 - 10 * np.arange(100))
    assert samples.throughput() == pytest.approx(1000 / 15)


@pytest.mark.parametrize(
    ("requests", "n", "answered"), [(None, 150, 103), (10**6, 150, 103), (150, 150, 103), (110, 110, 103), (90, 90, 90)]
)
def test_who_waits_when_the_time_is_over_counts(clock, requests, n, answered):
    """25 a second for 6 s, of which a server of 58.8 ms answers 17; as many of the others as were asked for."""
    plan = Plan({0.99: 299}, requests, fps=25, duration_s=6)
    samples = sample(clock.serving(itertools.repeat(58.8)), plan, clock.timer)
    assert (len(samples.done_ns), samples.answered) == (n, answered)
    due_ms = np.arange(n) * 40.0
    done_ms = np.minimum(np.arange(1, n + 1), answered) * 58.8
    np.testing.assert_allclose(samples.latencies_ms, done_ms - due_ms)


def test_who_waits_behind_one_that_outlasts_the_time_counts(clock):
    """The first takes 9 s of 6: nobody else of 150 was served."""
    times = itertools.chain([1.0] * 101, itertools.repeat(9000.0))
    samples = sample(clock.serving(times), Plan({}, fps=25, duration_s=6), clock.timer)
    assert (len(samples.done_ns), samples.answered) == (150, 1)
    np.testing.assert_allclose(samples.latencies_ms, 9000 - np.arange(150) * 40.0)


@pytest.mark.parametrize("requests", [None, 10**6, 250])
@pytest.mark.parametrize("seed", range(5))
def test_who_came_at_random_and_waits_counts_too(new_clock, requests, seed):
    """Twice as many as can be served come at random; one queue, and its latencies by Lindley's recursion."""
    clock = new_clock()
    plan = Plan({0.99: 10**6}, requests, fps=100, duration_s=5, is_poisson=True, seed=seed)
    samples = sample(clock.serving(itertools.repeat(20.0)), plan, clock.timer)
    due, start = samples.intended_ns, 1_000 + sum([20_000_000] * 101)
    assert (np.diff(due) > 0).all()
    assert (due < start + 5 * 10**9).all()
    # 500 in the mean, give or take 4 of its roots.
    assert len(due) == requests if requests == 250 else abs(len(due) - 500) < 90
    assert samples.answered == pytest.approx(min(250, len(due)), abs=8)
    done = start
    for index in range(samples.answered):
        done = max(done, due[index]) + 20_000_000
        assert samples.done_ns[index] == done
    assert set(samples.done_ns[samples.answered :]) <= {done}
    if requests != 250:
        assert start + 5 * 10**9 - due[-1] < 10**8, "who came last is there"


@pytest.mark.parametrize(("fps", "first_ms"), [(100, 9000.0), (20, 40.0)])
def test_nobody_is_drawn_who_did_not_come(new_clock, fps, first_ms):
    """Where the last of a round comes after the end no other was due before it: the process itself is the oracle.

    The first takes longer than all the time, or less than a gap is left when the last was served.
    """
    judged = 0
    for seed in range(60):
        gaps_ns = np.random.default_rng(seed).exponential(1e9 / fps, 5 * fps)
        due_s = np.cumsum(np.rint(gaps_ns)) / 1e9
        in_time = due_s[due_s < 5]
        idle = first_ms < 5000 and in_time[-1] + 0.04 + 1 / fps < 5
        if len(in_time) == len(due_s) or idle:
            continue
        clock = new_clock()
        times = itertools.chain([1.0] * 101, [first_ms], itertools.repeat(40.0))
        plan = Plan({0.99: 10**6}, fps=fps, duration_s=5, is_poisson=True, seed=seed)
        samples = sample(clock.serving(times), plan, clock.timer)
        assert len(samples.done_ns) == len(in_time), seed
        judged += 1
    assert judged > 10


@pytest.mark.parametrize("is_poisson", [False, True])
@pytest.mark.parametrize("service_ms", [2.0, 9.0])
def test_a_server_that_keeps_up_leaves_nobody_waiting(clock, is_poisson, service_ms):
    fps = 100 if not is_poisson else 20
    plan = Plan({0.99: 10**6}, fps=fps, duration_s=5, is_poisson=is_poisson)
    samples = sample(clock.serving(itertools.repeat(service_ms)), plan, clock.timer)
    assert samples.answered == len(samples.done_ns)
    assert samples.latencies_ms.min() == pytest.approx(service_ms)
    if not is_poisson:
        assert len(samples.done_ns) == 500


def test_a_closed_loop_leaves_nobody_waiting(clock):
    samples = sample(clock.serving(itertools.repeat(700.0)), Plan({0.99: 299}, duration_s=5), clock.timer)
    assert (len(samples.done_ns), samples.answered) == (7, 7)


def test_enough_is_enough_though_others_wait(clock):
    """100 requests are enough without a budget, and the time is not over."""
    samples = sample(clock.serving(itertools.repeat(15.0)), Plan({}, fps=100, duration_s=3), clock.timer)
    assert (len(samples.done_ns), samples.answered) == (100, 100)


def test_no_more_are_kept_than_can_be(clock):
    """Two million were due: the first hundred thousand, who waited longest, stand for them."""
    samples = sample(clock.serving(itertools.repeat(50.0)), Plan({0.99: 299}, fps=1e6, duration_s=2), clock.timer)
    assert (len(samples.done_ns), samples.answered) == (100_000, 40)


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
    assert len(latencies) == 2000, "the samples depend on each other, and another round is asked for"
    np.testing.assert_allclose(np.diff(latencies[: samples.answered]), 0.5, atol=1e-6)
    assert samples.utilisation(100) == pytest.approx(1.05, abs=0.06)


def test_an_idle_system_keeps_the_beat_between_rounds(new_clock):
    clock = new_clock()
    times = (5.0 if index // 150 % 2 else 2.0 for index in itertools.count())
    samples = sample(clock.serving(times), Plan({0.5: 40}, fps=100, duration_s=9), clock.timer)
    assert len(samples.done_ns) > 200
    assert set(np.diff(samples.intended_ns) % 10_000_000) == {0}
    assert samples.latencies_ms.max() == 5.0
    assert samples.utilisation(100) == pytest.approx(0.35, abs=0.16)
