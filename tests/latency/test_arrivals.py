"""When requests are due, on a simulated clock; SciPy's exponential distribution is the oracle of Poisson arrivals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from edgekit.latency import Plan, Samples, closed, fixed_rate, measure, offline, poisson, sample
from edgekit.latency.measure import joined, unserved
from edgekit.latency.sampling import sample_offline

MS = 1_000_000


def test_poisson_gaps_are_exponential():
    stats = pytest.importorskip("scipy.stats", reason="SciPy is the oracle of the distribution")
    due = np.array(list(poisson(100, 20_000, seed=3).intended_ns(0)))
    gaps = np.diff(due, prepend=0) / 10e6
    assert stats.kstest(gaps, "expon").pvalue > 0.01
    assert gaps.mean() == pytest.approx(1, abs=0.03)
    # And the numbers that come in a second are as spread as their mean, which a beat's are not.
    counts = np.bincount(due // 1_000_000_000)[:-1]
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.35)


def test_the_same_seed_gives_the_same_gaps():
    first, same, other = (list(poisson(50, 30, seed).intended_ns(7)) for seed in (1, 1, 2))
    assert first == same != other
    assert min(first) > 7


def test_poisson_requests_wait_in_one_queue(clock):
    """Lindley's recursion (1952) over the same arrivals: a wait is what the one before left over."""
    random = np.random.default_rng(5)
    times_ms = random.exponential(8, 4000)
    samples = measure(clock.serving(times_ms), poisson(100, 4000, seed=1), clock.timer)
    wait, waits = 0.0, []
    gaps = np.diff(samples.intended_ns, prepend=samples.intended_ns[0]) / 1e6
    for gap, service in zip(gaps, [0, *times_ms[:-1]], strict=True):
        wait = max(0.0, wait + service - gap)
        waits.append(wait)
    np.testing.assert_allclose(samples.latencies_ms, np.array(waits) + times_ms, atol=1e-3)
    assert samples.utilisation(100) == pytest.approx(times_ms.mean() / 10, rel=1e-6)
    # M/M/1 at 80 %: in the mean 8 / (1 - 0.8) = 40 ms from arrival to answer (Kleinrock, Queueing Systems, 3.2).
    assert samples.latencies_ms.mean() == pytest.approx(40, rel=0.35)


def test_poisson_has_no_seams_between_rounds(clock):
    """2000 rounds of ten, and 0.1 ms of our own work after each: who waits still waits, and nobody else does.

    M/D/1 at 80 %: 8 ms of service after a wait of 0.8 / 0.4 * 8 = 16 ms in the mean (Kleinrock, 5.6).
    """
    arrivals, rounds = poisson(100, 10, seed=1), []
    for _ in range(2000):
        rounds.append(measure(clock.serving(itertools.repeat(8.0)), arrivals, clock.timer))
        clock.sleep(0.0001)
        arrivals = rounds[-1].followed(arrivals, 10, clock.ns)
    whole = joined(rounds)
    assert np.diff(whole.intended_ns).min() > 0
    assert whole.latencies_ms.mean() == pytest.approx(24, rel=0.12)
    firsts = [item.latencies_ms[0] for item in rounds]
    assert np.mean(firsts) == pytest.approx(24, rel=0.15)


def test_poisson_goes_on_in_rounds_until_the_samples_suffice(clock):
    plan = Plan({0.5: 750}, fps=100, duration_s=600, is_poisson=True, seed=4)
    samples = sample(clock.serving(itertools.repeat(8.0)), plan, clock.timer)
    assert len(samples.done_ns) > 2 * 750, "waits depend on each other, so that another round was asked for"
    assert np.diff(samples.intended_ns).min() > 0
    assert np.diff(samples.intended_ns).mean() == pytest.approx(10 * MS, rel=0.06)


def test_a_poisson_round_goes_on_where_the_last_ended():
    arrivals = poisson(100, 3, seed=8)
    follows = poisson(100, 2, seed=9)
    gap = next(follows.intended_ns(0))
    due = 1_000 * MS
    # Who came while the last was served waits still; who comes later comes when due.
    for done, now in ((due + gap + 1, due + gap + 2), (due + 1, due + gap)):
        assert next(arrivals.next_round(2, due, done, now).intended_ns(now)) == due + gap
    # Who would have come while nobody looked: the process begins anew.
    late = due + gap + 5 * MS
    assert next(arrivals.next_round(2, due, due + 1, late).intended_ns(late)) == late + gap


def test_a_beat_goes_on_where_the_last_ended():
    arrivals = fixed_rate(100, 3)
    assert arrivals.next_round(2, 0, 5 * MS, 7 * MS).start_ns == 10 * MS
    assert arrivals.next_round(2, 0, 5 * MS, 27 * MS).start_ns == 30 * MS
    assert arrivals.next_round(2, 0, 25 * MS, 27 * MS).start_ns == 10 * MS, "it waits since then"
    assert closed(3).next_round(2, 0, 25 * MS, 27 * MS) == closed(2)


def test_offline_is_due_at_once(clock):
    begin = clock.ns
    samples = measure(clock.serving([4.0] * 5), offline(5), clock.timer)
    np.testing.assert_array_equal(samples.intended_ns, [begin] * 5)
    np.testing.assert_allclose(samples.latencies_ms, [4, 8, 12, 16, 20])
    assert samples.throughput() == pytest.approx(250)


@pytest.mark.parametrize(
    ("requests", "duration_s", "n", "answered"), [(None, 60, 1000, 1000), (70, 60, 70, 70), (500, 1, 500, 100)]
)
def test_offline_measures_what_was_asked(clock, requests, duration_s, n, answered):
    """10 ms each; who was not served when the time was over counts as waiting, and not as an answer."""
    plan = Plan({}, requests, duration_s=duration_s)
    samples = sample_offline(clock.serving(itertools.repeat(10.0)), plan, clock.timer)
    assert (len(samples.done_ns), samples.answered) == (n, answered)
    assert samples.throughput() == pytest.approx(100)
    assert samples.latencies_ms[-1] == pytest.approx(10 * answered)


def test_offline_without_a_number_keeps_to_its_time(clock):
    samples = sample_offline(clock.serving(itertools.repeat(100.0)), Plan({}, duration_s=2), clock.timer)
    assert (len(samples.done_ns), samples.answered) == (20, 20)


def test_who_was_not_served_says_nothing_of_the_service(clock):
    """20 ms for each that comes every 10 ms: busy for 200 % of the time, though half of them never had a turn."""
    samples = measure(
        clock.serving(itertools.repeat(20.0)), fixed_rate(100, 99), clock.timer, until_ns=clock.ns + 10**9
    )
    assert (len(samples.done_ns), samples.answered) == (99, 50)
    assert samples.utilisation(100) == pytest.approx(2)
    assert samples.throughput() == pytest.approx(50)


def test_rounds_are_joined_with_who_was_left():
    first = Samples(np.array([0, 10]), np.array([5, 15]))
    last = unserved(fixed_rate(1e8, 5, start_ns=20), until_ns=45, now_ns=60)
    np.testing.assert_array_equal(last.intended_ns, [20, 30, 40])
    whole = joined([first, last])
    assert whole.answered == 2
    np.testing.assert_array_equal(whole.done_ns, [5, 15, 60, 60, 60])
    assert whole.throughput() == pytest.approx(2 / 15e-9)


def test_a_clock_that_stands_still_has_no_throughput():
    assert math.isinf(Samples(np.array([5]), np.array([5])).throughput())
