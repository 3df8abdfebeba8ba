"""Counts against np.histogram over the range that all values need, however they came: in any order, in any batches."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.quantize.histogram import BINS, SMALLEST_EXPONENT, Histogram, exponent_of, step_through

LARGEST = float(np.finfo(np.float32).max)
# Also what sits on the edges of ranges and bins: powers of two, denormals, zeros, the largest number there is.
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.floats(-1, 1, width=32),
    st.sampled_from([0.0, -0.0, 1.0, -2.0, 0.5, 4.0, 2.0**-149, 2.0**-126, 2.0**-116, 2.0**-117, LARGEST, -LARGEST]),
    st.integers(-149, 127).map(lambda power: 2.0**power),
)


def histogram_of(*batches: np.ndarray) -> Histogram:
    found = Histogram()
    for batch in batches:
        part = Histogram()
        part.add(batch, float(np.abs(batch).max(initial=0)))
        found = found.merged(part)
    return found


def counted(values: np.ndarray) -> tuple[int, np.ndarray]:
    """The oracle: the least power of two above all |x|, by trying, and NumPy's counts below it."""
    sizes = np.abs(values.astype(np.float64)).reshape(-1)
    exponent = next(power for power in range(SMALLEST_EXPONENT, 130) if (sizes < 2.0**power).all())
    # NumPy's own edges are computed and not exact: these are.
    return exponent, np.histogram(sizes, np.arange(BINS + 1) * (2.0**exponent / BINS))[0]


@given(st.lists(st.lists(NUMBERS, max_size=8), max_size=5), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_any_order_and_any_batches_count_the_same(lists, random):
    whole = np.array([number for numbers in lists for number in numbers], np.float32)
    exponent, counts = counted(whole)
    found = histogram_of(*(np.array(numbers, np.float32) for numbers in lists))
    assert found.exponent == exponent
    np.testing.assert_array_equal(found.counts, counts)
    assert found.counts.dtype == np.int64
    random.shuffle(lists)
    again = histogram_of(*(np.array(numbers, np.float32) for numbers in lists))
    np.testing.assert_array_equal(again.counts, counts)
    at_once = Histogram()
    at_once.add(whole, float(np.abs(whole).max(initial=0)))
    np.testing.assert_array_equal(at_once.counts, counts)


@pytest.mark.parametrize("power", range(15))
def test_a_range_that_doubles_this_often(power):
    small, large = np.linspace(0, 0.999, 500, dtype=np.float32), np.array([0.75 * 2.0**power], np.float32)
    _, counts = counted(np.append(small, large))
    np.testing.assert_array_equal(histogram_of(small, large).counts, counts)
    np.testing.assert_array_equal(histogram_of(large, small).counts, counts)


def test_a_histogram_takes_batch_after_batch():
    random = np.random.default_rng(0)
    batches = [(random.normal(size=(4, 3, 8, 8)) * 10.0**power).astype(np.float32) for power in (0, -3, 2, 1, -30)]
    found = Histogram()
    for batch in batches:
        found.add(batch, float(np.abs(batch).max()))
    exponent, counts = counted(np.concatenate(batches))
    assert found.exponent == exponent
    np.testing.assert_array_equal(found.counts, counts)


def test_merging_leaves_both_as_they_were():
    """An interrupt between two merges must find no histogram that is half one and half the other."""
    one, other = (histogram_of(np.array(values, np.float32)) for values in ([1.0, 2.0], [1e-3, 300.0]))
    before = copy.deepcopy((one, other))
    joined = one.merged(other)
    assert joined.counts.sum() == 4
    for now, then in zip((one, other), before, strict=True):
        assert now.exponent == then.exponent
        np.testing.assert_array_equal(now.counts, then.counts)


@pytest.mark.parametrize(
    ("largest", "exponent"),
    [(1.0, 1), (0.999, 0), (1.001, 1), (2.0, 2), (6.0, 3), (0.5, 0), (LARGEST, 128), (2.0**-149, SMALLEST_EXPONENT)],
)
def test_the_range_is_the_least_power_of_two_above(largest, exponent):
    assert exponent_of(largest) == exponent


def test_a_dead_batch_costs_no_resolution():
    """A first batch of zeros says nothing of the size of what follows."""
    found = histogram_of(np.zeros(10, np.float32), np.array([1e-6, 0.5e-6, 0.25e-6], np.float32))
    assert 2.0**found.exponent < 2e-6
    assert np.flatnonzero(found.counts).tolist() == [0, *np.floor(np.float32([0.25e-6, 0.5e-6, 1e-6]) * 2.0**30)]


def test_centres_are_in_the_middle_of_the_bins():
    found = histogram_of(np.array([5.0], np.float32))
    edges = np.histogram_bin_edges([], BINS, (0, 8))
    np.testing.assert_allclose(found.centres(), (edges[1:] + edges[:-1]) / 2, rtol=1e-12)
    assert abs(found.centres()[found.counts > 0][0] - 5) <= 8 / BINS


@pytest.mark.parametrize(
    "shape", [(4, 128, 1536), (2, 512, 2048), (3, 700, 768), (4, 3, 512, 512), (8, 224, 224, 3), (6, 96, 56, 56)]
)
def test_of_a_large_tensor_every_channel_is_counted_alike(shape):
    """Were every third value counted of 1536 channels, two thirds of them would never be seen, and with them the one
    that is twenty times the others."""
    for axis in (1, len(shape) - 1):
        channel = np.arange(shape[axis]).reshape([-1 if other == axis else 1 for other in range(len(shape))])
        array = np.broadcast_to(channel, shape).astype(np.float32)
        found = Histogram()
        found.add(array, 2047.0)  # a bin a number
        assert 1 << 16 < found.counts.sum() <= 1 << 19
        counts = found.counts[: shape[axis]]
        assert counts.max() - counts.min() <= max(2, 0.02 * counts.mean())


@given(st.integers(1, 1 << 28))
@settings(deadline=None)
def test_a_step_shares_no_divisor_with_the_size(size):
    step = step_through(size)
    assert np.gcd(step, size) == 1
    assert step >= size // (1 << 18)
    assert size < 1 << 19 or size / step > 1 << 14


def test_a_part_of_a_large_tensor_has_the_quantiles_of_the_whole():
    values = np.random.default_rng(0).normal(size=(8, 64, 64, 64)).astype(np.float32)
    found = Histogram()
    found.add(values, float(np.abs(values).max()))
    reached = np.cumsum(found.counts) / found.counts.sum()
    for quantile in (0.5, 0.9, 0.999):
        place = (np.searchsorted(reached, quantile) + 1) * 2.0**found.exponent / BINS
        assert place == pytest.approx(np.quantile(np.abs(values), quantile), rel=0.02)
