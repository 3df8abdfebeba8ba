"""Second moments of activations against NumPy in float64, in memory that does not grow with the data."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.data import Samples  # noqa: E402
from edgekit.errors import DataError, QuantizeError  # noqa: E402
from edgekit.quantize.moments import second_moments  # noqa: E402

helper = onnx.helper
RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.normal(size=(5, 7)).astype(np.float32)


def network() -> onnx.ModelProto:
    """x float32 [batch,time,5] -> h = relu(x W) [batch,time,7] -> y = 2 h."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "W"], ["m"]),
            helper.make_node("Relu", ["m"], ["h"]),
            helper.make_node("Add", ["h", "h"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", 1, ["batch", "time", 5])],
        [helper.make_tensor_value_info("y", 1, ["batch", "time", 7])],
        [onnx.numpy_helper.from_array(WEIGHT, "W")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def stream(*arrays: np.ndarray) -> Iterator[Samples]:
    for array in arrays:
        yield Samples(np.arange(len(array)), {"x": array})


def test_they_are_numpys():
    """Batches of other sizes and lengths; an input, an activation, and one that is an output too, asked for twice."""
    batches = [RANDOM.normal(1, 2, size=shape).astype(np.float32) for shape in ((3, 4, 5), (3, 4, 5), (1, 9, 5))]
    told: list[tuple[int, int]] = []
    model = network()
    before = model.SerializeToString()
    found = second_moments(
        model, ["x", "h", "y", "x"], stream(*batches), lambda _, done, total: told.append((done, total)), 7
    )
    rows = np.concatenate([batch.reshape(-1, 5) for batch in batches]).astype(np.float64)
    hidden = np.maximum(rows @ WEIGHT.astype(np.float64), 0)
    assert list(found) == ["x", "h", "y"]
    for name, values in {"x": rows, "h": hidden, "y": 2 * hidden}.items():
        assert found[name].dtype == np.float64
        np.testing.assert_allclose(found[name], values.T @ values / len(values), rtol=1e-5, atol=1e-6)
    assert told == [(3, 7), (6, 7), (7, 7)]
    assert model.SerializeToString() == before


def test_nothing_asked_for_is_nothing():
    assert second_moments(network(), [], stream()) == {}


def test_memory_does_not_grow_with_the_data():
    def many(count: int) -> Iterator[Samples]:
        for seed in range(count):
            x = np.random.default_rng(seed).normal(size=(64, 50, 5)).astype(np.float32)
            yield from stream(x)

    def peak(count: int) -> int:
        tracemalloc.start()
        second_moments(network(), ["x", "h"], many(count))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)
    assert peak(40) < 1.1 * peak(5)


@pytest.mark.parametrize("broken", [np.nan, np.inf, 3e38])  # the last one overflows in the graph
def test_broken_activations_are_named(broken):
    x = np.ones((1, 2, 5), np.float32)
    x[0, 1, 3] = broken
    with pytest.raises(QuantizeError, match="activation 'x' is NaN or Inf on the calibration data"):
        second_moments(network(), ["x"], stream(np.ones((1, 2, 5), np.float32), x))


def test_no_data_and_wrong_data():
    with pytest.raises(QuantizeError, match="expected calibration data that reaches activation 'h', found no row"):
        second_moments(network(), ["h"], stream())
    with pytest.raises(QuantizeError, match="expected calibration data that reaches"):
        second_moments(network(), ["h"], stream(np.ones((0, 2, 5), np.float32)))
    with pytest.raises(QuantizeError, match="onnxruntime failed on the calibration data"):
        second_moments(network(), ["h"], stream(np.ones((2, 2, 4), np.float32)))
    with pytest.raises(QuantizeError, match="onnxruntime failed"):
        second_moments(network(), ["no such tensor"], stream(np.ones((2, 2, 5), np.float32)))


def test_what_is_wrong_with_the_data_itself_stays_its_own_error():
    def failing() -> Iterator[Samples]:
        yield from stream(np.ones((2, 2, 5), np.float32))
        raise DataError("expected a picture, found none")

    with pytest.raises(DataError, match="expected a picture"):
        second_moments(network(), ["h"], failing())
