"""Shifted activations: the same numbers, half the range, and only where a Sub costs nothing."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.quantize.int8 import Form, insert_qdq  # noqa: E402
from edgekit.quantize.ranges import range_of  # noqa: E402
from edgekit.quantize.scales import quantize_weight  # noqa: E402
from edgekit.quantize.shift import can_shift, shift  # noqa: E402
from edgekit.quantize.smooth import smooth  # noqa: E402
from tests.quantize.graphs import copy_of, count, graph, layers_of, node, run, same, seen, value  # noqa: E402

I, O = 6, 5  # noqa: E741
RANDOM = np.random.default_rng(0)
ROWS = value("x", "batch", I)
PICTURES = value("x", "batch", 4, 7, 7)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


ROW_FEEDS = {"x": normal(64, I)}
PICTURE_FEEDS = {"x": normal(8, 4, 7, 7)}
# A SiLU: x sigmoid(x), from -0.28 to the largest x.
SILU = [node("Sigmoid", "x", "s"), node("Mul", "x s", "a")]
NORM = node("LayerNormalization", "x g b", "a")
GAIN = {"g": normal(I), "b": normal(I) + np.float32(5)}
KERNEL = {"k": normal(O, 4, 1, 1), "c": normal(O)}


def product(*before: onnx.NodeProto, **weights: np.ndarray) -> onnx.ModelProto:
    return graph([*before, node("MatMul", "a w", "y")], [ROWS], ["y"], {"w": normal(I, O), **weights})


CASES = {
    "MatMul": (product(*SILU), ROW_FEEDS, 1),
    "MatMul and its Add": (
        graph([*SILU, node("MatMul", "a w", "m"), node("Add", "m c", "y")], [ROWS], ["y"],
              {"w": normal(I, O), "c": normal(O)}), ROW_FEEDS, 1),
    "Gemm": (graph([*SILU, node("Gemm", "a w c", "y", transB=1)], [ROWS], ["y"], {"w": normal(O, I), "c": normal(O)}),
             ROW_FEEDS, 1),
    "a norm": (product(NORM, **GAIN), ROW_FEEDS, 0),
    "a norm that is an output": (
        graph([NORM, node("MatMul", "a w", "y")], [ROWS], ["y", "a"], {"w": normal(I, O), **GAIN}), ROW_FEEDS, 1),
    "a norm without a bias": (product(node("LayerNormalization", "x g", "n"), node("Mul", "n n", "a"), g=normal(I)),
                              ROW_FEEDS, 1),
    "two readers": (
        graph([*SILU, node("MatMul", "a w", "y"), node("MatMul", "a v", "z")], [ROWS], ["y", "z"],
              {"w": normal(I, O), "v": normal(I, 3)}), ROW_FEEDS, 1),
    "an input": (graph([node("Gemm", "x w", "y")], [ROWS], ["y"], {"w": normal(I, O)}),
                 {"x": ROW_FEEDS["x"] + np.float32(9)}, 1),
    "a convolution": (graph([*SILU, node("Conv", "a k c", "y", strides=[2, 2])], [PICTURES], ["y"], KERNEL),
                      PICTURE_FEEDS, 1),
    "a wide one without padding": (
        graph([*SILU, node("Conv", "a k", "y", auto_pad="VALID")], [PICTURES], ["y"], {"k": normal(O, 4, 3, 3)}),
        PICTURE_FEEDS, 1),
    "in groups": (graph([*SILU, node("Conv", "a k c", "y", group=2)], [PICTURES], ["y"],
                        {"k": normal(6, 2, 1, 1), "c": normal(6)}), PICTURE_FEEDS, 1),
    "behind a reshape": (
        graph([*SILU, node("GlobalAveragePool", "a", "p"), node("Flatten", "p", "f"), node("Gemm", "f w", "y")],
              [PICTURES], ["y"], {"w": normal(4, O)}), {"x": PICTURE_FEEDS["x"] + np.float32(4)}, 1),
}  # fmt: skip


@pytest.mark.parametrize(("model", "feeds", "subs"), CASES.values(), ids=CASES)
def test_the_numbers_stay_and_the_range_shrinks(model, feeds, subs):
    wanted, statistics = run(model, feeds), seen(model, feeds)
    made = copy_of(model)
    shifted = shift(made, layers_of(model), statistics)
    same(run(made, feeds), wanted)
    assert count(made, "Sub") == subs
    for before, after in zip(layers_of(model), shifted.layers, strict=True):
        observed = np.abs(run(made, feeds, after.activation)[after.activation]).max()
        predicted = shifted.statistics.tensors[after.activation].largest
        assert predicted == pytest.approx(observed, rel=1e-5)
        assert observed < 0.9 * statistics.tensors[before.activation].largest


LEFT = {
    "padding": graph([*SILU, node("Conv", "a k", "y", pads=[1, 1, 1, 1])], [PICTURES], ["y"],
                     {"k": normal(O, 4, 3, 3)}),
    "padding by name": graph([*SILU, node("Conv", "a k", "y", auto_pad="SAME_UPPER")], [PICTURES], ["y"],
                             {"k": normal(O, 4, 3, 3)}),
    "a Relu": graph([node("Relu", "x", "a"), node("Conv", "a k", "y")], [PICTURES], ["y"], {"k": normal(O, 4, 1, 1)}),
    "a sum": graph([node("Add", "x x", "a"), node("Conv", "a k", "y")], [PICTURES], ["y"], {"k": normal(O, 4, 1, 1)}),
    "a range in the middle already": graph([node("Mul", "x two", "a"), node("Conv", "a k", "y")], [PICTURES], ["y"],
                                           {"k": normal(O, 4, 1, 1), "two": np.float32(2)}),
    "a bias that is computed": graph(
        [*SILU, node("ReduceMax", "x", "r", keepdims=0), node("Expand", "r five", "e"), node("Conv", "a k e", "y")],
        [PICTURES], ["y"], {"k": normal(O, 4, 1, 1), "five": np.array([O])}),
}  # fmt: skip


@pytest.mark.parametrize("model", LEFT.values(), ids=LEFT)
def test_what_stays_where_it_is(model):
    symmetric = np.concatenate([PICTURE_FEEDS["x"], -PICTURE_FEEDS["x"]])
    statistics = seen(model, {"x": symmetric})
    before = model.SerializeToString()
    assert not can_shift(model, layers_of(model), statistics)
    assert shift(model, layers_of(model), statistics).layers == layers_of(model)
    assert model.SerializeToString() == before


def quantized_error(model: onnx.ModelProto, feeds: dict[str, np.ndarray], *, shifted: bool) -> float:
    """The mean square of what INT8 costs."""
    wanted, statistics, layers = run(model, feeds), seen(model, feeds), layers_of(model)
    made = copy_of(model)
    if shifted:
        moved = shift(made, layers, statistics)
        layers, statistics = moved.layers, moved.statistics
    weights = {item.name: onnx.numpy_helper.to_array(item) for item in made.graph.initializer}
    levels = {layer.node: quantize_weight(weights[layer.weight], layer.axis) for layer in layers}
    ranges = {layer.activation: range_of("max", statistics.tensors[layer.activation].largest, None) for layer in layers}
    done = insert_qdq(made, layers, ranges, levels, Form()).model
    return float(np.square(run(done, feeds)["y"] - wanted["y"]).mean())


def test_half_the_range_is_a_quarter_of_the_noise():
    """Weights of one size, which int8 holds exactly, so that only the activation is rounded."""
    weight = RANDOM.choice([-1, 1], size=(I, O)).astype(np.float32)
    model = graph([*SILU, node("MatMul", "a w", "y")], [ROWS], ["y"], {"w": weight})
    feeds = {"x": RANDOM.uniform(-8, 8, size=(4000, I)).astype(np.float32)}
    ratio = quantized_error(model, feeds, shifted=False) / quantized_error(model, feeds, shifted=True)
    assert 3 < ratio < 5


def test_it_goes_together_with_smoothing():
    """Also for a tensor whose name is new: the factors follow from the weights of all that read the old one."""
    model = CASES["two readers"][0]
    wanted, statistics, layers = run(model, ROW_FEEDS), seen(model, ROW_FEEDS), layers_of(model)
    made = copy_of(model)
    shifted = shift(made, layers, statistics)
    smoothed = smooth(made, shifted.layers, shifted.statistics, 0.75, layers)
    same(run(made, ROW_FEEDS), wanted)
    assert len({layer.activation for layer in smoothed.layers}) == 1


def test_a_layer_that_is_kept_reads_what_it_read():
    model = CASES["two readers"][0]
    made = copy_of(model)
    first, second = layers_of(model)
    shift(made, [first], seen(model, ROW_FEEDS))
    nodes = {item.name: item for item in made.graph.node}
    assert (nodes[first.node].input[0], nodes[second.node].input[0]) == ("a_shift", "a")
    same(run(made, ROW_FEEDS), run(model, ROW_FEEDS))
