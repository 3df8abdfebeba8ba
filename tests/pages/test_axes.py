"""Axes have round ticks that a person can read values by."""

from __future__ import annotations

import itertools
import math

import pytest

from edgekit.pages.axes import linear, logarithmic

RANGES = [(0, 1), (0, 0.0371), (0, 33.3), (0, 41_999), (35.2, 36.9), (-4, 5), (0, 1e-9), (0, 5e12), (0, 6)]


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_ticks_are_round_and_few_and_within(low, high):
    found = linear("ms", low, high)
    values = [value for value, _ in found.ticks]
    assert 2 <= len(values) <= 6
    assert low - 1e-9 * high <= values[0] < values[-1] <= high * (1 + 1e-9)
    steps = {f"{after - before:.3e}"[:5] for before, after in itertools.pairwise(values)}
    assert steps <= {"1.000", "2.000", "5.000"}
    assert len(steps) == 1
    for value, text in found.ticks:
        assert float(text.replace(",", "")) == pytest.approx(value, rel=1e-6, abs=1e-12 * high)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.8, 61, ["1", "2", "5", "10", "20", "50"]),
        (0.05, 70_000, ["0.1", "1", "10", "100", "1,000", "10,000"]),
        (1, 100, ["1", "2", "5", "10", "20", "50", "100"]),
    ],
)
def test_logarithmic_ticks(low, high, texts):
    assert [text for _, text in logarithmic("ms", low, high).ticks] == texts


def test_where_a_value_stands():
    plain, log = linear("ms", 10, 30), logarithmic("ms", 1, 100)
    assert [plain.place(value) for value in (10, 15, 30)] == [0, 0.25, 1]
    assert [log.place(value) for value in (1, 10, 100)] == pytest.approx([0, 0.5, 1])
    for axis in (plain, log):
        assert [axis.place(value) for value in (-math.inf, -5, 1e9, math.inf)] == [0, 0, 1, 1]


@pytest.mark.parametrize("value", [0, 3.5, -2])
def test_a_range_of_one_value_is_an_axis_too(value):
    found = linear("ms", value, value)
    assert found.low == value < found.high
    assert found.place(value) == 0
    assert logarithmic("ms", 5, 5).place(5) == 0
