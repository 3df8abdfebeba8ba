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
from edgekit.quantize.scales import SMALLEST_HALF_SCALE, quantize_rows, quantize_weight, scale_of  # noqa: E402

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
    path = quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", QuantizeConfig("int8", data=str(tmp_path / "x.npz"))).path
    found = ReferenceEvaluator(str(path)).run(None, {"X": inputs[0]})
    random = any(np.ptp(weights[name], axis=-1).any() for name in "WR")
    for array, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(array, expected, rtol=case.rtol, atol=0.01 if random else 1e-6)
    after = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    assert not {"W", "R"} & after.keys()
    for name in names[3:]:
        np.testing.assert_array_equal(after[name], weights[name])
