"""Long runs on a simulated clock; SciPy is the oracle of slope and trend."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgekit.latency.soak import drift, sample_soak


def medians(values, seconds: float = 60.0):
    return [(index * seconds, float(value)) for index, value in enumerate(values)]


def test_windows_of_a_minute(clock):
    """2 ms, and 3 ms from the sixth minute on, with one stall of half a second in the third."""
    left = itertools.count()

    def serve():
        index = next(left) - 100  # the warm-up
        clock.sleep(0.5 if index == 1300 else 0.002 if index < 3000 else 0.003)

    heat = iter(range(40, 60))
    samples, found = sample_soak(serve, 10, 720, clock.timer, celsius=lambda: float(next(heat)))
    assert (len(samples.done_ns), found.window_s) == (7200, 60)
    assert [window.n for window in found.windows] == [600] * 12
    assert [window.begin_s for window in found.windows] == [60.0 * index for index in range(12)]
    assert [window.p50_ms for window in found.windows] == pytest.approx([2] * 5 + [3] * 7)
    assert [window.max_ms for window in found.windows][1:4] == pytest.approx([2, 500, 2])
    assert [window.celsius for window in found.windows] == list(range(40, 52))
    assert set(np.diff(samples.intended_ns)) == {100_000_000}, "the beat goes on over the windows"
    assert found.drift.is_clear
    assert found.drift.change > 0.3


def test_a_short_soak_has_ten_windows(clock):
    samples, found = sample_soak(clock.serving(itertools.repeat(1.0)), 100, 5, clock.timer)
    assert (found.window_s, len(found.windows), len(samples.done_ns)) == (0.5, 10, 500)
    assert (found.drift.change, found.drift.p, found.drift.is_clear) == (0, 1, False)


def test_a_soak_slower_than_its_windows_has_one_request_in_each(clock):
    samples, found = sample_soak(clock.serving(itertools.repeat(1.0)), 0.5, 10, clock.timer)
    assert [window.n for window in found.windows] == [1] * 5
    assert len(samples.done_ns) == 5


def test_windows_stay_even_where_a_request_does_not_end_with_them(clock):
    """2.5 requests a window: two and three in turn, 25 in ten windows."""
    samples, found = sample_soak(clock.serving(itertools.repeat(1.0)), 2.5, 10, clock.timer)
    assert (len(found.windows), len(samples.done_ns)) == (10, 25)
    assert {window.n for window in found.windows} == {2, 3}


def test_what_happens_between_windows_counts(clock):
    """The thermometer takes 35 ms once, while requests are due every 10 ms."""
    pauses = iter([0.0, 0.035, *[0.0] * 8])
    samples, _ = sample_soak(
        clock.serving(itertools.repeat(1.0)), 100, 1, clock.timer, celsius=lambda: clock.sleep(next(pauses))
    )
    np.testing.assert_allclose(np.diff(samples.intended_ns), 10_000_000)
    np.testing.assert_allclose(samples.latencies_ms[19:25], [1, 27, 18, 9, 1, 1])
    assert len(samples.done_ns) == 100


def test_all_that_were_due_count_when_it_cannot_keep_up(clock):
    """15 ms for what comes every 10 ms: of 1000 that were due in 10 s, 333 never had a turn, and had waited."""
    samples, found = sample_soak(clock.serving(itertools.repeat(15.0)), 100, 10, clock.timer)
    assert len(samples.done_ns) == 1000
    assert samples.answered == pytest.approx(667, abs=2)
    assert samples.utilisation(100) == pytest.approx(1.5, rel=0.01)
    np.testing.assert_allclose(np.diff(samples.intended_ns), 10_000_000)
    assert [window.n for window in found.windows] == [100] * 7
    assert found.drift.change > 1


def test_progress_is_told(clock):
    seen = []
    sample_soak(clock.serving(itertools.repeat(1.0)), 100, 1, clock.timer, lambda *told: seen.append(told))
    assert seen == [("soaking", 10 * (index + 1), 100) for index in range(10)]


@pytest.mark.parametrize("seed", range(5))
def test_the_slope_is_theil_and_sens(seed):
    stats = pytest.importorskip("scipy.stats", reason="SciPy is the oracle")
    values = 5 + 0.1 * np.arange(15) + np.random.default_rng(seed).standard_cauchy(15).clip(-3, 9)
    found = drift(medians(values))
    slope, middle, *_ = stats.theilslopes(values, np.arange(15) * 60.0, method="joint")
    assert found.per_hour == pytest.approx(3600 * slope / middle)
    assert found.change == pytest.approx(14 * 60 * slope / middle)


@pytest.mark.parametrize("count", [8, 12, 20])
def test_the_p_value_is_manns(count):
    """Without ties, against Kendall's exact distribution; the normal one is within 0.015 of it from eight on."""
    stats = pytest.importorskip("scipy.stats", reason="SciPy is the oracle")
    random = np.random.default_rng(count)
    for _ in range(40):
        values = random.random(count) + random.choice([0, 0.05]) * np.arange(count)
        exact = stats.kendalltau(np.arange(count), values, method="exact").pvalue
        assert drift(medians(values)).p == pytest.approx(exact, abs=0.015)


def test_ties_are_counted():
    """By the formula of Kendall (Rank Correlation Methods, 1975) by hand: 22 pairs of 28 rise, one tie of four."""
    values = [1, 1, 1, 1, 2, 3, 4, 5]
    score = 22
    variance = (8 * 7 * 21 - 4 * 3 * 13) / 18
    z = (score - 1) / variance**0.5
    stats = pytest.importorskip("scipy.stats", reason="SciPy is the oracle")
    assert drift(medians(values)).p == pytest.approx(2 * stats.norm.sf(z))


def test_few_windows_tell_nothing():
    found = drift(medians([1, 2, 3, 4, 5, 6, 7]))
    assert (found.p, found.is_clear) == (None, False)
    assert drift(medians([2.0])).change == 0


def test_a_drift_is_found_and_seldom_imagined():
    random = np.random.default_rng(0)
    noise = [1 + 0.05 * random.normal(size=10) for _ in range(1000)]
    assert sum(drift(medians(row)).is_clear for row in noise) <= 15  # 1 % is what p < 0.01 allows
    slower = [drift(medians(row + 0.3 * np.arange(10) / 9)) for row in noise[:200]]
    assert sum(found.is_clear for found in slower) >= 150
    assert np.mean([found.change for found in slower]) == pytest.approx(0.3, abs=0.01)
    assert not drift(medians(1 + 0.001 * np.arange(10))).is_clear, "clear, but a tenth of what matters"
