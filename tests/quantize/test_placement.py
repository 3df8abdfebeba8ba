"""Which inputs of residual adds get Q/DQ: the branch that goes around the convolution before the Add."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.quantize.int8 import Form, insert_qdq  # noqa: E402
from edgekit.quantize.legal import breaches  # noqa: E402
from edgekit.quantize.placement import Layer, Skip, residual_skips  # noqa: E402
from tests.quantize.graphs import copy_of, graph, layers_of, node, run, seen, value, weights_of  # noqa: E402

X = value("x", "batch", 4, 6, 6)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


K = {"k": normal(4, 4, 3, 3) / 6, "l": normal(4, 4, 3, 3, seed=1) / 6}
NORM = {name: np.abs(normal(4, seed=2)) for name in ("g", "b", "mean", "var")}
FEEDS = {"x": np.abs(normal(8, 4, 6, 6, seed=3))}


def conv(inputs: str, out: str) -> onnx.NodeProto:
    return node("Conv", inputs, out, pads=[1] * 4)


RELU, FIRST = node("Relu", "x", "r"), conv("r k", "f")
CASES: dict[str, tuple[list[onnx.NodeProto], list[Skip]]] = {
    "x + f(x)": ([RELU, FIRST, node("Add", "r f", "y")], [Skip("y", 0, "r", "f")]),
    "f(x) + x": ([RELU, FIRST, node("Add", "f r", "y")], [Skip("y", 1, "r", "f")]),
    "an input of the model": ([conv("x k", "f"), node("Add", "x f", "y")], [Skip("y", 0, "x", "f")]),
    "two convolutions": ([FIRST, RELU, conv("x l", "h"), node("Add", "f h", "y")], [Skip("y", 0, "f", "h")]),
    "the other way around": ([FIRST, RELU, conv("x l", "h"), node("Add", "h f", "y")], [Skip("y", 0, "h", "f")]),
    "a transposed convolution": (
        [RELU, node("ConvTranspose", "r k", "f", pads=[1] * 4), node("Add", "r f", "y")],
        [Skip("y", 0, "r", "f")],
    ),
    "a batch norm between": (
        [RELU, FIRST, node("BatchNormalization", "f g b mean var", "n"), node("Add", "r n", "y")],
        [Skip("y", 0, "r", "f")],
    ),
    "one behind the other": (
        [RELU, FIRST, node("Add", "r f", "a"), conv("a l", "h"), node("Add", "a h", "y")],
        [Skip("a", 0, "r", "f"), Skip("y", 0, "a", "h")],
    ),
    "a Relu between": ([RELU, FIRST, node("Relu", "f", "n"), node("Add", "r n", "y")], []),
    "a constant": ([RELU, FIRST, node("Add", "f k1", "y")], []),
    "twice the same": ([RELU, FIRST, node("Add", "f f", "y")], []),
    "a product": ([RELU, node("MatMul", "r w", "f"), node("Add", "r f", "y")], []),
    "no sum": ([RELU, FIRST, node("Mul", "r f", "y")], []),
}
WEIGHTS = K | NORM | {"k1": normal(4, 1, 1), "w": normal(6, 6)}


def model_of(name: str) -> onnx.ModelProto:
    nodes = onnx.helper.make_graph(CASES[name][0], "g", [], []).node
    order = sorted(nodes, key=lambda item: {"r": 0, "f": 1}.get(item.output[0], 2))
    return graph(order, [X], ["y"], WEIGHTS)


@pytest.mark.parametrize("name", CASES)
def test_which_input(name):
    model = model_of(name)
    assert residual_skips(model, layers_of(model)) == CASES[name][1]


def test_a_convolution_that_is_no_layer_has_no_skip():
    model = model_of("x + f(x)")
    assert residual_skips(model, []) == []
    assert residual_skips(model, [Layer("another", "Conv", "x", "k", 0)]) == []


def quantized(model: onnx.ModelProto, skips: list[Skip]) -> onnx.ModelProto:
    changed, layers, weights = copy_of(model), layers_of(model), weights_of(model)
    statistics = seen(model, FEEDS, **{skip.tensor: 1 for skip in skips})
    ranges = {name: item.largest for name, item in statistics.tensors.items()}
    levels = {layer.node: Form().weight(weights[layer.weight], layer.axis) for layer in layers}
    return insert_qdq(changed, layers, ranges, levels, Form(), skips).model


def residual_notes(model: onnx.ModelProto) -> list[str]:
    return [item.node for item in breaches(model) if item.rule.id == "residual"]


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][1]])
def test_the_linter_misses_no_pair_afterwards(name):
    model = model_of(name)
    skips = residual_skips(model, layers_of(model))
    assert len(residual_notes(quantized(model, []))) == len(skips)
    made = quantized(model, skips)
    assert residual_notes(made) == []
    onnx.checker.check_model(made)
    nodes = {item.name: item for item in made.graph.node}
    makers = {out: item for item in made.graph.node for out in item.output}
    for skip in skips:
        pair = makers[nodes[skip.node].input[skip.index]]
        assert pair.op_type == "DequantizeLinear"
        assert makers[pair.input[0]].input[0] == skip.tensor
        assert nodes[skip.node].input[1 - skip.index] in (skip.layer, "n"), "what is fused stays as it is"


@pytest.mark.parametrize("name", [name for name in CASES if not CASES[name][1] and name != "twice the same"])
def test_the_linter_wants_no_pair_where_there_is_none(name):
    assert residual_notes(quantized(model_of(name), [])) == []


def test_a_skip_and_a_layer_share_the_pair_of_their_tensor():
    model = model_of("x + f(x)")
    made = quantized(model, residual_skips(model, layers_of(model)))
    assert [item.op_type for item in made.graph.node].count("QuantizeLinear") == 1
    found, wanted = run(made, FEEDS)["y"], run(model, FEEDS)["y"]
    assert np.square(found - wanted).sum() < np.square(wanted).sum() / 1000, "30 dB"


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][1]])
def test_it_builds(name, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build
    from edgekit.configs import BuildConfig

    model = model_of(name)
    onnx.save(quantized(model, residual_skips(model, layers_of(model))), tmp_path / "m.onnx")
    report = build(tmp_path / "m.onnx", tmp_path / "m.engine", BuildConfig("rtx", ("8.6",)))
    # TensorRT-RTX 1.7.1 computes this transposed convolution in floating point, with the pair on the skip or without.
    assert "int8" in {layer.dtype for layer in report.layers} or name == "a transposed convolution"
