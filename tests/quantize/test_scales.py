"""Ranges -> scales, values -> int8: every value within half a step, and a scale a row where rows differ in size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

onnx = pytest.importorskip("onnx")

from onnx.backend.test.case import node as stored  # noqa: E402
from onnx.backend.test.case.node import gru, lstm, rnn  # noqa: E402, F401  # each import adds that operator's cases
from onnx.reference import ReferenceEvaluator  # noqa: E402

from edgekit.configs import QuantizeConfig  # noqa: E402
from edgekit.metrics import Sqnr  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402
from edgekit.quantize.scales import (  # noqa: E402
    SMALLEST_HALF_SCALE,
    quantize_fp8,
    quantize_rows,
    quantize_weight,
    scale_of,
    spread,
)

ROWS = arrays.arrays(np.float32, (2, 3, 4), elements=st.floats(-1e6, 1e6, width=32))


@given(ROWS)
def test_a_row_comes_back_within_half_a_step(weight):
    values, scale = quantize_rows(weight)
    assert (values.dtype, scale.dtype, values.shape, scale.shape) == (np.int8, np.float32, (2, 3, 4), (2, 3, 1))
    assert (scale > 0).all()
    steps = weight.astype(np.float64) / scale
    assert np.abs(steps - values).max() <= 0.5 + 1e-4
    assert values.min() >= -127


@given(ROWS)
def test_the_largest_of_a_row_takes_the_last_level(weight):
    values, _ = quantize_rows(weight)
    alive = np.abs(weight).max(axis=-1) > 1e-30
    assert (np.abs(values.astype(int)).max(axis=-1)[alive] == 127).all()


@given(ROWS, st.integers(-60, 60))
def test_rows_are_independent_and_their_size_does_not_matter(weight, power):
    """Also far below FP16's smallest number: raw sensor counts are met by weights of that size."""
    weight[np.abs(weight) < 1e-3] = 0
    values, scale = quantize_rows(weight)
    for index in np.ndindex(weight.shape[:2]):
        alone, own = quantize_rows(np.ldexp(weight[index], power))
        np.testing.assert_array_equal(alone, values[index])
        if weight[index].any():
            np.testing.assert_array_equal(own, np.ldexp(scale[index], power))


def test_a_row_of_zeros_and_a_row_of_one_value():
    values, scale = quantize_rows(np.array([[0, 0], [0.1, 0.1], [-3, 3]], np.float32))
    assert values.tolist() == [[0, 0], [127, 127], [-127, 127]]
    np.testing.assert_allclose(values * scale, [[0, 0], [0.1, 0.1], [-3, 3]], rtol=2e-7)


def rounded_by_numpy(weight: np.ndarray, axes: int | None) -> np.ndarray:
    """The oracle: one step for all (axes=None) or for each row (axes=-1)."""
    step = np.abs(weight).max(axis=axes, keepdims=axes is not None) / 127
    return np.rint(weight / step) * step


def sqnr_db(reference: np.ndarray, found: np.ndarray) -> float:
    meter = Sqnr()
    meter.add(reference, found)
    return meter.db()


def test_a_scale_a_row_holds_each_row_and_one_for_all_loses_the_small_ones():
    weight = np.random.default_rng(0).normal(size=(1, 64, 32)) * np.geomspace(1e-3, 1, 64)[:, None]
    values, scale = quantize_rows(weight.astype(np.float32))
    one_scale = rounded_by_numpy(weight, None)
    each = [sqnr_db(*pair) for pair in zip(weight[0], (values * scale)[0], strict=True)]
    assert min(each) > 36
    assert sqnr_db(weight, values * scale) > sqnr_db(weight, one_scale) + 3
    assert sqnr_db(weight[0, 0], one_scale[0, 0]) < 1, "all of it is rounded away"
    np.testing.assert_allclose(values * scale, rounded_by_numpy(weight.astype(np.float32), -1), rtol=1e-6)


@given(st.floats(0, 8e6, width=32))
def test_a_scale_covers_its_range_and_sits_on_the_next_number_of_fp16(largest):
    scale = scale_of(np.float32(largest), half=True)
    exact = max(np.float32(largest) / np.float32(127), SMALLEST_HALF_SCALE)
    assert exact <= scale <= max(exact * (1 + 2**-10), exact + 2**-24)
    assert scale == np.float16(scale)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_scale_a_slice_is_that_of_the_slice_alone(axis):
    weight = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32)
    values, scale = quantize_weight(weight, axis)
    for index in range(weight.shape[axis]):
        alone, own = quantize_weight(weight.take(index, axis), None)
        assert own == scale[index]
        np.testing.assert_array_equal(alone, values.take(index, axis))


CASES = {
    case.name: case
    for case in stored._NodeTestCases
    if case.model and case.model.graph.node[0].op_type in ("LSTM", "GRU", "RNN")
}


@pytest.mark.parametrize("name", CASES)
def test_the_onnx_packages_own_cases(name, tmp_path):
    """All inputs but X become initializers. Each row holds one value there, and so comes back to a few last digits."""
    assert len(CASES) == 18
    case = CASES[name]
    ((inputs, wanted),) = case.data_sets
    names = [item.name for item in case.model.graph.input]
    graph = case.model.graph
    weights = dict(zip(names[1:], inputs[1:], strict=True))
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    alone = onnx.helper.make_graph(graph.node, "g", [graph.input[0]], graph.output, tensors)
    onnx.save(onnx.helper.make_model(alone, opset_imports=case.model.opset_import, ir_version=10), tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", X=inputs[0])
    path = quantize(
        tmp_path / "m.onnx", tmp_path / "q.onnx", QuantizeConfig("int8", data=str(tmp_path / "x.npz"), method="max")
    ).path
    found = ReferenceEvaluator(str(path)).run(None, {"X": inputs[0]})
    random = any(np.ptp(weights[name], axis=-1).any() for name in "WR")
    for array, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(array, expected, rtol=case.rtol, atol=0.01 if random else 1e-6)
    after = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    assert not {"W", "R"} & after.keys()
    for name in names[3:]:
        np.testing.assert_array_equal(after[name], weights[name])


def squared_error(weight: np.ndarray, scale: np.ndarray) -> float:
    exact = weight.astype(np.float64)
    return float(np.square(np.clip(np.rint(exact / scale), -127, 127) * scale - exact).sum())


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("sigma", [0.1, 1.5])  # of a lognormal: all of one size, and some far out
def test_the_best_fitting_scale_is_the_best_of_all_shares_of_the_largest(axis, sigma):
    random = np.random.default_rng(0)
    weight = (random.lognormal(sigma=sigma, size=(40, 50)) * random.choice([-1, 1], (40, 50))).astype(np.float32)
    values, scale = quantize_weight(weight, axis, fit="mse")
    slices = [weight] if axis is None else list(np.moveaxis(weight, axis, 0))
    shares = [*np.linspace(0.5, 0.95, 10), *np.linspace(0.97, 1.03, 31)]
    for part, step in zip(slices, np.atleast_1d(scale), strict=True):
        tried = [squared_error(part, share * np.abs(part).max() / 127) for share in shares]
        assert squared_error(part, float(step)) == pytest.approx(min(tried), rel=1e-3)
    np.testing.assert_array_equal(values, np.clip(np.rint(weight / spread(scale, axis, 2)), -127, 127))


@pytest.mark.parametrize("half", [False, True])
def test_the_best_fitting_scale_gains_most_where_a_scale_is_for_few_values(half):
    """As in depthwise convolutions; never is more lost than by the largest value."""
    weight = np.random.default_rng(2).normal(size=(500, 9)).astype(np.float32)
    errors = {}
    for fit in ("max", "mse"):
        values, scale = quantize_weight(weight, 0, half=half, fit=fit)
        errors[fit] = np.square(values * scale[:, None].astype(float) - weight).sum(axis=1)
    assert (errors["mse"] <= errors["max"] * (1 + 1e-3)).all()
    assert 10 * np.log10(errors["max"].sum() / errors["mse"].sum()) > 1.2


def test_the_best_fitting_scale_clips_one_value_for_the_sake_of_many():
    even = np.linspace(-1, 1, 4001, dtype=np.float32)
    for times, bounds in ((1, (1.7, 1.92)), (50, (0.95, 1.05))):
        _, scale = quantize_weight(np.append(np.tile(even, times), np.float32(1.9)), None, fit="mse")
        assert bounds[0] < 127 * scale <= bounds[1]


@pytest.mark.parametrize("fit", ["max", "mse"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_weights_of_zeros_and_slices_of_zeros(axis, fit):
    weight = np.array([[0, 0], [0, 3]], np.float32)
    for array in (weight, 0 * weight):
        values, scale = quantize_weight(array, axis, fit=fit)
        np.testing.assert_allclose(values * spread(scale, axis, 2), array, rtol=1e-2)
        assert (scale > 0).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_best_fitting_scales_may_have_to_be_on_the_grid_of_fp16(axis):
    weight = np.random.default_rng(1).normal(size=(30, 40)).astype(np.float32)
    _, scale = quantize_weight(weight, axis, half=True, fit="mse")
    np.testing.assert_array_equal(scale, scale.astype(np.float16))


def eight_bit_floats() -> np.ndarray:
    """All finite numbers of E4M3, by its definition: a sign, four bits of exponent with bias 7, three of mantissa.

    Source: OCP 8-bit Floating Point Specification (OFP8), table 1.
    """
    subnormal = [mantissa / 8 * 2.0**-6 for mantissa in range(8)]
    normal = [(1 + mantissa / 8) * 2.0 ** (exponent - 7) for exponent in range(1, 16) for mantissa in range(8)]
    positive = (subnormal + normal)[:-1]  # the last pattern is NaN
    return np.array(sorted({sign * number for sign in (-1, 1) for number in positive}))


FP8 = eight_bit_floats()


@given(arrays.arrays(np.float32, (3, 5), elements=st.floats(-1e6, 1e6, width=32)), st.sampled_from([None, 0, 1]))
def test_fp8_is_the_nearest_number_there_is(weight, axis):
    values, scale = quantize_fp8(weight, axis)
    assert str(values.dtype) == "float8_e4m3fn"
    assert FP8.max() == 448
    wanted = np.abs(weight).max(axis=None if axis is None else 1 - axis).astype(np.float64) / 448
    np.testing.assert_allclose(scale, np.maximum(wanted, np.finfo(np.float32).tiny), rtol=1e-6)
    scaled = np.clip(weight / spread(scale, axis, 2), -448, 448).astype(np.float64)
    found = values.astype(np.float64)
    assert np.isin(found, FP8).all(), "no NaN, which is what a number beyond 448 becomes"
    np.testing.assert_array_equal(np.abs(found - scaled), np.abs(FP8[:, None, None] - scaled).min(axis=0))


def test_fp8_by_hand():
    """448 is the largest; 17 lies between 16 and 18, and goes to the even mantissa; 2^-10 is half of the smallest."""
    weight = np.array([448, -17, 19, 2.0**-9, 2.0**-10, 0], np.float32)
    values, scale = quantize_fp8(weight, None)
    assert scale == 1
    assert values.astype(np.float32).tolist() == [448, -16, 20, 2.0**-9, 0, 0]


@given(st.floats(2.0**-12, 60000, width=32))
def test_fp8_holds_the_largest_value_on_the_grid_of_fp16_too(largest):
    values, scale = quantize_fp8(np.array([largest, -largest], np.float32), None, half=True)
    assert scale == np.float16(scale)
    np.testing.assert_allclose(values.astype(np.float32) * scale, [largest, -largest], rtol=1 / 16)


def test_scales_spread_along_their_axis():
    scale = np.arange(1, 4, dtype=np.float32)
    weight = np.ones((2, 3, 4), np.float32)
    np.testing.assert_array_equal(weight * spread(scale, 1, 3), weight * scale[None, :, None])
    assert spread(np.float32(2), None, 3) == 2
