"""SQNR: against Python's own exact sums, over batches, dtypes and the values at which it ends."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.metrics import Sqnr

VALUES = st.floats(-1e6, 1e6, width=32)


def db(*pairs: tuple[list, list], dtype: type = np.float32) -> float:
    meter = Sqnr()
    for wanted, found in pairs:
        meter.add(np.array(wanted, dtype), np.array(found, dtype))
    return meter.db()


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=20))
def test_it_is_the_ratio_of_exact_sums(pairs):
    signal = sum(Fraction(wanted) ** 2 for wanted, _ in pairs)
    noise = sum((Fraction(wanted) - Fraction(found)) ** 2 for wanted, found in pairs)
    measured = db(tuple(map(list, zip(*pairs, strict=True))))
    if not noise:
        assert measured == math.inf
    elif not signal:
        assert measured == -math.inf
    elif signal > 1e-30 and noise > 1e-30:  # smaller squares are beyond what float64 holds in full
        assert measured == pytest.approx(10 * (math.log10(signal) - math.log10(noise)), abs=1e-6)


def test_by_hand():
    assert db(([10, 0], [9, 0])) == pytest.approx(20)
    assert db(([10, 0], [9, 0]), ([0, 10], [0, 8])) == pytest.approx(10 * math.log10(200 / 5))
    assert db(([3], [-3])) == pytest.approx(10 * math.log10(9 / 36))


@given(st.lists(VALUES, min_size=2, max_size=9), st.integers(1, 8))
def test_how_samples_are_batched_does_not_matter(values, cut):
    noisy = [value + 1 for value in values]
    whole = db((values, noisy))
    assert db((values[:cut], noisy[:cut]), (values[cut:], noisy[cut:])) == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize(
    ("dtype", "large"),
    [(np.float16, 60000), (np.float32, 3e38), (np.int8, 127), (np.uint8, 255), (np.int32, 2**31 - 1)],
)
def test_squares_do_not_overflow_in_the_arrays_own_dtype(dtype, large):
    """In float32 the square of 3e38 is Inf, and in uint8 0 - 255 is 1."""
    assert db(([0, large], [large, large]), dtype=dtype) == pytest.approx(0)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_one_broken_value_breaks_it_for_good(broken):
    assert db(([1, 2], [1, broken])) == -math.inf
    assert db(([1, 2], [1, broken]), ([1, 2], [1, 2])) == -math.inf
    assert db(([1, broken], [1, 2])) == -math.inf, "a broken reference proves nothing either"
    assert db(([1, broken], [1, broken])) == -math.inf
