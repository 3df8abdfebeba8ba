"""Two runs of services whose quantiles are known: how often the comparison is wrong, and what it asks for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgekit.errors import DataError
from edgekit.latency import closed, measure
from edgekit.latency.compare import (
    CANNOT_TELL,
    FASTER,
    NO_DIFFERENCE,
    SLOWER,
    compare,
    compare_summaries,
    slower_or_not,
)
from edgekit.latency.stats import Interval, summarise
from tests.latency.services import ar1, verdicts

PAIRS = 80  # tests/latency/test_figures.py has more


@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_the_same_service_twice_is_no_difference(memory):
    """At least 95 % of the pairs of 2000 requests, of every figure together."""
    _, found = verdicts(2000, memory, 1.0, PAIRS)
    assert found[NO_DIFFERENCE] >= 0.95 * PAIRS
    assert found[SLOWER] + found[FASTER] <= 0.01 * PAIRS


@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_ten_percent_more_are_found(memory):
    _, found = verdicts(2000, memory, 1.1, PAIRS)
    assert found[SLOWER] >= 0.9 * PAIRS


def test_it_is_the_same_on_a_simulated_clock(new_clock):
    """A closed loop measures what was drawn, in whole nanoseconds."""
    first, second = ar1(np.random.default_rng(5), 2, 2000, 0.5)
    timed = [
        measure(clock.serving(times), closed(2000), clock.timer).latencies_ms
        for clock, times in ((new_clock(), first), (new_clock(), 1.1 * second))
    ]
    assert slower_or_not(compare(*timed)) == SLOWER
    assert compare(*timed)[0].change.value == pytest.approx(compare(first, 1.1 * second)[0].change.value, abs=1e-5)


@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_a_third_less_is_found(memory):
    _, found = verdicts(2000, memory, 2 / 3, 30)
    assert found == {FASTER: 30}


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_too_few_requests_are_rather_doubted_than_judged(memory):
    """Of 300 requests p99 has no upper bound. What is the same is called slower in at most 5 % of the pairs, also where
    neighbours are alike; and the mean alone is larger by 3 % in many of them, which proves nothing."""
    found, words = verdicts(300, memory, 1.0, 200)
    assert words[SLOWER] <= 0.05 * 200
    assert words[NO_DIFFERENCE] == 0
    assert {changes[2].outcome for changes in found} == {CANNOT_TELL}
    fewest = min(changes[2].missing or 0 for changes in found)
    assert fewest == 68 if memory == 0 else fewest > 68


def test_the_interval_of_the_change_covers_it():
    """95 % each, where both runs are independent; the ratio of the quantiles is 1.1 exactly."""
    found, _ = verdicts(1000, 0.0, 1.1, 200)
    held = np.array([[item.change.low <= 0.1 <= item.change.high for item in changes] for changes in found])
    assert held.mean(axis=0).min() >= 0.93
    assert held.mean(axis=0)[0] < 1, "wider than it has to be"


def test_the_missing_samples_tell(new_clock):
    """Pairs that cannot be told apart or alike get as many more as they ask for: then most can."""
    random = np.random.default_rng(3)
    told = []
    for a, b in zip(ar1(random, 60, 500, 0.5), 1.04 * ar1(random, 60, 500, 0.5), strict=True):
        median = compare(a, b)[0]
        if median.outcome != CANNOT_TELL:
            continue
        assert median.missing is not None
        more, most = (factor * ar1(random, 1, median.missing, 0.5)[0] for factor in (1, 1.04))
        told.append(compare(np.concatenate([a, more]), np.concatenate([b, most]))[0].outcome != CANNOT_TELL)
    assert len(told) > 20
    assert np.mean(told) > 0.5


def spread(count: int):
    """Between 1 and 2 ms, spread by the golden ratio: none is as its neighbours are."""
    return 1 + np.arange(count) * 0.6180339887498949 % 1


def test_the_ends_are_those_of_both_intervals_in_squares():
    """Against the formula of Zou and Donner, in float64 and with the summaries' own intervals."""
    a, b = summarise(spread(1000)), summarise(1.2 * spread(900) ** 2)
    for change in compare_summaries(a, b):
        one, two = getattr(a, change.key), getattr(b, change.key)
        logs = np.log([one.low, one.value, one.high]), np.log([two.low, two.value, two.high])
        low = logs[1][1] - logs[0][1] - np.sqrt((logs[1][1] - logs[1][0]) ** 2 + (logs[0][2] - logs[0][1]) ** 2)
        high = logs[1][1] - logs[0][1] + np.sqrt((logs[1][2] - logs[1][1]) ** 2 + (logs[0][1] - logs[0][0]) ** 2)
        assert change.change.low == pytest.approx(np.exp(low) - 1)
        assert change.change.high == pytest.approx(np.exp(high) - 1)
        assert (change.before, change.after) == (one.value, two.value)
        assert change.change.value == pytest.approx(two.value / one.value - 1)


def test_turned_round_it_says_the_opposite():
    a, b = spread(1000), 1.3 * spread(1000)
    there, back = compare(a, b), compare(b, a)
    assert slower_or_not(there) == SLOWER
    assert slower_or_not(back) == FASTER
    for one, other in zip(there, back, strict=True):
        assert (1 + one.change.low) * (1 + other.change.high) == pytest.approx(1)


def test_a_sure_difference_that_does_not_matter_is_none():
    """3 % are certain among 100 000 requests, and less than two runs differ anyhow."""
    a, b = spread(100_000), 1.03 * spread(100_000)
    alike, told = compare(a, b), compare(a, b, tolerance=0.01)
    assert alike[0].change.low > 0
    assert {change.outcome for change in alike} == {NO_DIFFERENCE}
    assert slower_or_not(told) == SLOWER
    assert [change.within for change in told] == pytest.approx([0.01, 0.015, 0.025])
    assert str(alike[0]).endswith("): no difference of 10 %")


def test_equal_latencies_are_equal():
    found = compare(np.full(1000, 2.0), np.full(1000, 2.0))
    assert slower_or_not(found) == NO_DIFFERENCE
    assert str(found[0]) == "p50_ms: 2 -> 2, +0.0 % (+0.0 .. +0.0): no difference of 10 %"
    assert str(compare(np.full(1000, 2.0), np.full(1000, 3.0))[0]) == "p50_ms: 2 -> 3, +50.0 % (+50.0 .. +50.0): slower"


def test_a_doubt_says_how_many_are_missing():
    found = compare(spread(300), spread(300))[2]
    assert (found.outcome, found.missing) == (CANNOT_TELL, 68)
    assert str(found).endswith(" .. +inf): cannot tell: about 68 more samples")


def test_one_word_for_all():
    def word(*outcomes: str) -> str:
        change = compare(spread(10), spread(10))[0]
        return slower_or_not(tuple(type(change)(**{**vars(change), "outcome": item}) for item in outcomes))

    assert word(NO_DIFFERENCE, NO_DIFFERENCE) == NO_DIFFERENCE
    assert word(NO_DIFFERENCE, FASTER) == FASTER
    assert word(FASTER, CANNOT_TELL) == CANNOT_TELL
    assert word(FASTER, SLOWER, CANNOT_TELL) == SLOWER


@pytest.mark.parametrize("wrong", [[], [0.0, 1.0], [-1.0], [math.nan, 1.0], [math.inf]])
def test_what_are_no_latencies_is_refused(wrong):
    for pair in ((wrong, [1.0]), ([1.0], wrong)):
        with pytest.raises(DataError, match="expected latencies above 0 ms"):
            compare(*(np.array(item, np.float64) for item in pair))


def test_an_interval_with_no_ends_tells_nothing():
    found = compare(np.array([1.0]), np.array([9.0]))
    assert {change.outcome for change in found} == {CANNOT_TELL}
    assert found[0].change == Interval(pytest.approx(8.0), -1.0, math.inf)
