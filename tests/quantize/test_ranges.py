"""Ranges from a histogram against the raw data in float64: NumPy's quantile, and the least squared error by trying."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekit.quantize.histogram import BINS, Histogram
from edgekit.quantize.ranges import least_squares, percentile, range_of

METHODS = ("max", "mse", "percentile")
COUNT = 50_000


def seen(values: np.ndarray) -> tuple[float, Histogram]:
    largest, found = float(np.abs(values).max(initial=0)), Histogram()
    found.add(values.astype(np.float32), largest)
    return largest, found


def error(values: np.ndarray, bound: float) -> float:
    """The oracle: the mean squared error of `values` in 127 levels on both sides, in float64."""
    step = bound / 127
    return float(np.mean((values - np.clip(np.rint(values / step), -127, 127) * step) ** 2))


def made(kind: str) -> np.ndarray:
    random = np.random.default_rng(0)
    normal = random.normal(size=COUNT)
    silu = 2 * normal / (1 + np.exp(-2 * normal))
    return {
        "normal": normal,
        "relu": np.maximum(normal, 0),
        "sparse": np.maximum(normal - 2, 0),
        "silu": silu,
        "laplace": random.laplace(size=COUNT),
        "heavy": random.standard_t(3, size=COUNT),
        "lognormal": random.lognormal(0, 1, COUNT),
        "outlier": np.append(normal, 30.0),
        "even": random.uniform(-1, 1, COUNT),
        "small": 1e-6 * normal,
        "large": 1e12 * normal,
    }[kind].astype(np.float32)


KINDS = ("normal", "relu", "sparse", "silu", "laplace", "heavy", "lognormal", "outlier", "even", "small", "large")


@pytest.mark.parametrize("kind", KINDS)
def test_the_percentile_is_numpys_within_a_bin(kind):
    values = made(kind)
    largest, found = seen(values)
    bin_ = 2.0**found.exponent / BINS
    # The value that it is, not one between two values: in a thin tail those are many bins apart.
    for inside in (0.9999, 0.999, 0.5):
        wanted = float(np.quantile(np.abs(values), inside, method="inverted_cdf"))
        assert wanted <= percentile(found, inside) <= wanted + bin_ * 1.001
    assert range_of("percentile", largest, found) == pytest.approx(min(largest, percentile(found)))


@pytest.mark.parametrize("kind", KINDS)
def test_least_squares_is_as_good_as_trying_on_the_raw_data(kind):
    values = made(kind).astype(np.float64)
    largest, found = seen(values)
    best = min(error(values, share * largest) for share in np.linspace(0.05, 1, 120))
    chosen = error(values, range_of("mse", largest, found))
    assert chosen <= 1.03 * best
    assert chosen <= error(values, largest) * 1.001
    assert 0.1 * largest - 1e-12 <= least_squares(found, largest) <= largest


def test_least_squares_clips_an_outlier_where_that_pays():
    """Found by trying on the raw data: an eighth of the largest value, and less than a tenth of its error."""
    values = np.append(np.random.default_rng(0).normal(size=2_000_000), 30.0)
    largest, found = seen(values)
    bound = range_of("mse", largest, found)
    assert bound < 8
    assert error(values, bound) * 8 < error(values, largest)
    assert percentile(found) < 5


def test_least_squares_of_the_activations_of_a_real_network():
    onnx = pytest.importorskip("onnx")
    from tests.quantize.digit_cnn import AXES, as_onnx, digits
    from tests.quantize.graphs import run, seen

    assert onnx
    images, model = {"image": digits()[0][1300:1400]}, as_onnx()
    activations = images | run(model, images, "a", "b", "flat")
    for name, found in seen(model, images).tensors.items():
        values = activations[name].astype(np.float64)
        best = min(error(values, share * found.largest) for share in np.linspace(0.1, 1, 91))
        assert error(values, range_of("mse", found.largest, found.histogram)) <= 1.03 * best, name
    assert set(AXES) == {"image", "a", "b", "flat"}


def test_few_values_are_never_clipped_by_the_percentile():
    """Of fewer than ten thousand values, one beyond 99.99 % is less than none."""
    values = np.append(np.full(9_998, 0.1), 100.0)
    largest, found = seen(values)
    assert range_of("percentile", largest, found) == largest
    largest, found = seen(np.append(values, np.full(10, 0.1)))
    assert range_of("percentile", largest, found) < 0.2


@pytest.mark.parametrize("method", METHODS)
def test_what_was_always_zero_has_no_range(method):
    assert range_of(method, *seen(np.zeros(100))) == 0
    assert range_of(method, *seen(np.zeros(0))) == 0


@pytest.mark.parametrize("method", METHODS)
def test_where_no_histogram_was_taken_it_is_the_largest_value(method):
    assert range_of(method, 3.0, None) == 3.0
    assert range_of(method, 3.0, Histogram()) == 3.0


@given(
    arrays.arrays(np.float32, st.integers(0, 20), elements=st.floats(-(2.0**127), 2.0**127, width=32)),
    st.sampled_from(METHODS),
)
@settings(deadline=None)
def test_no_range_is_beyond_the_largest_value(values, method):
    largest, found = seen(values)
    bound = range_of(method, largest, found)
    assert 0 <= bound <= largest
    assert method != "max" or bound == largest
    assert (bound > 0) == (largest > 0)
