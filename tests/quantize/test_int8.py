"""INT8: legal Q/DQ, calibrated on real data in one pass, and worse without a scale a channel."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

onnx = pytest.importorskip("onnx")

from edgekit.configs import QuantizeConfig, ValidateConfig  # noqa: E402
from edgekit.errors import DataError, OutputError, QuantizeError, UsageError  # noqa: E402
from edgekit.judge import outputs_of  # noqa: E402
from edgekit.metrics import Sqnr  # noqa: E402
from edgekit.quantize import quantize, scales_file  # noqa: E402
from edgekit.quantize.int8 import Form, insert_qdq, rounding_error  # noqa: E402
from edgekit.quantize.scales import quantize_weight  # noqa: E402
from edgekit.rewrite.reading import graph_inputs, read_onnx  # noqa: E402
from tests.quantize.graphs import copy_of, count, graph, layers_of, node, run, seen, value, weights_of  # noqa: E402

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


@given(
    arrays.arrays(np.float32, (3, 4), elements=st.floats(-1e4, 1e4, width=32)),
    st.sampled_from([None, 0, 1]),
    st.booleans(),
)
def test_a_weight_comes_back_within_half_a_step(weight, axis, half):
    values, scale = quantize_weight(weight, axis, half=half)
    assert np.abs(values.astype(int)).max(initial=0) <= 127
    assert scale.shape == (() if axis is None else (weight.shape[axis],))
    if half:
        np.testing.assert_array_equal(scale, scale.astype(np.float16), "FP16 holds the scales")
    spread = scale if axis is None else np.expand_dims(scale, 1 - axis)
    assert (np.abs(values * spread - weight) <= 0.501 * spread).all()


def dense(weight: np.ndarray, path: Path, name: str = "x", extra: str = "w") -> Path:
    """name float32 [batch,I] -> y [batch,O]."""
    helper = onnx.helper
    x = helper.make_tensor_value_info(name, 1, ["batch", weight.shape[0]])
    y = helper.make_tensor_value_info("y", 1, ["batch", weight.shape[1]])
    nodes = [helper.make_node("MatMul", [name, extra], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y], [onnx.numpy_helper.from_array(weight, extra)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_sensors_in_their_own_units(tmp_path):
    """Inputs about 1e6 and weights about 1e-6: scales far below FP16's grid, which plain INT8 does not need."""
    random = np.random.default_rng(0)
    model = dense((random.normal(size=(16, 8)) * 1e-6).astype(np.float32), tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=(random.normal(size=(64, 16)) * 1e6).astype(np.float32))
    report = quantize(model, tmp_path / "q.onnx", QuantizeConfig("int8", data=str(tmp_path / "x.npz")))
    assert sqnr_db(model, report.path, tmp_path / "x.npz") > 38
    beyond = quantize(model, tmp_path / "h.onnx", QuantizeConfig("int8+fp16", data=str(tmp_path / "x.npz")))
    for said in ("MatMul 'MatMul_0' stays in FP32: 'x_dq' reaches", "FP16 has no scales as small as theirs"):
        assert any(said in line for line in beyond.warnings), said


def test_names_that_are_taken_already(tmp_path):
    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    model = dense(weight, tmp_path / "m.onnx", "x", "x_scale")
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32))
    report = quantize(model, tmp_path / "q.onnx", QuantizeConfig("int8", data=str(tmp_path / "x.npz")))
    assert sqnr_db(model, report.path, tmp_path / "x.npz") > 30


def test_broken_weights_are_refused(tmp_path):
    model = dense(np.array([[1, np.nan], [1, 1]], np.float32), tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=np.ones((4, 2), np.float32) * np.arange(4, dtype=np.float32)[:, None])
    with pytest.raises(QuantizeError, match="found NaN or Inf in 'w'"):
        quantize(model, tmp_path / "q.onnx", QuantizeConfig("int8", data=str(tmp_path / "x.npz")))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.onnx", "x.npz"]


def test_a_report_that_cannot_be_written_leaves_nothing(small_onnx, small_data, tmp_path):
    for name in ("q.onnx.json", "q.onnx.scales.json"):
        (tmp_path / name).mkdir()
        with pytest.raises(OutputError, match="expected the name of a file"):
            quantize(small_onnx, tmp_path / "q.onnx", QuantizeConfig("int8", data=str(small_data)))
        (tmp_path / name).rmdir()
        assert list(tmp_path.iterdir()) == []


def test_only_what_was_used_is_named(small_onnx, small_data, tmp_path):
    report = quantize(small_onnx, tmp_path / "q.onnx", QuantizeConfig("int8", data=str(small_data), samples=3))
    assert report.calibrated_on == "3 of 8 samples of small.npz"


def sqnr_db(reference: Path, found: Path, data: Path) -> float:
    with np.load(data) as archive:
        batches = [{name: archive[name] for name in archive.files}]
    meter = Sqnr()
    for wanted, got in zip(outputs_of(reference, batches), outputs_of(found, batches), strict=True):
        for name, array in wanted.items():
            meter.add(array, got[name])
    return meter.db()


def built(model: Path, folder: Path) -> set[str]:
    """The dtypes of the layers of its engine: every INT8 model must parse and build."""
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build
    from edgekit.configs import BuildConfig

    return {layer.dtype for layer in build(model, folder / "a.engine", BuildConfig("rtx", ("8.6",))).layers}


@pytest.mark.parametrize("precision", ["int8", "int8+fp16"])
def test_a_small_network(small_onnx, small_data, tmp_path, precision):
    report = quantize(small_onnx, tmp_path / "q.onnx", QuantizeConfig(precision, data=str(small_data)))
    assert report.quantized_layers == 2
    assert report.weights["int8"] == 6 * 27 + 30 + (6 + 5) + 2  # values, and the zero points
    assert sqnr_db(small_onnx, report.path, small_data) > 30
    nodes = onnx.load(report.path).graph.node
    assert [node.op_type for node in nodes].count("QuantizeLinear") == 2
    table = json.loads(scales_file(report.path).read_text())
    with np.load(small_data) as archive:
        assert table["tensors"]["image"]["largest"] == pytest.approx(float(np.abs(archive["image"]).max()))
    assert (table["samples"], table["data"]) == (8, "8 samples of small.npz")
    assert "int8" in built(report.path, tmp_path)


def test_the_same_data_gives_the_same_bytes(small_onnx, small_data, tmp_path):
    made = [quantize(small_onnx, tmp_path / name, QuantizeConfig("int8", data=str(small_data))).path for name in "ab"]
    assert made[0].read_bytes() == made[1].read_bytes()
    assert scales_file(made[0]).read_bytes() == scales_file(made[1]).read_bytes()


def test_without_data_int8_is_refused(small_onnx, tmp_path):
    with pytest.raises(UsageError, match="expected real inputs to calibrate int8 on"):
        quantize(small_onnx, tmp_path / "q.onnx", QuantizeConfig("int8"))
    with pytest.raises(DataError):
        quantize(small_onnx, tmp_path / "q.onnx", QuantizeConfig("int8", data=str(tmp_path / "none.npz")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.full((4, 3, 8, 8), 0.5, np.float32), "input 'image' is 0.5 in every sample"),
        (np.linspace(0, 255, 4 * 192, dtype=np.float32).reshape(4, 3, 8, 8), "pixels of 0..255"),
        (np.linspace(-1, 1, 192, dtype=np.float32).reshape(1, 3, 8, 8), "one sample only"),
    ],
)
def test_doubtful_data_is_said(small_onnx, tmp_path, image, says):
    np.savez(tmp_path / "x.npz", image=image)
    report = quantize(small_onnx, tmp_path / "q.onnx", QuantizeConfig("int8", data=str(tmp_path / "x.npz")))
    assert any(says in line for line in report.warnings)


def test_nothing_to_quantize_is_refused(tmp_path):
    helper = onnx.helper
    x, y = (helper.make_tensor_value_info(name, 1, ["batch", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=np.ones((2, 4), np.float32))
    with pytest.raises(QuantizeError, match="found none"):
        quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", QuantizeConfig("int8", data=str(tmp_path / "x.npz")))


@pytest.mark.slow  # exports EfficientNet-Lite0
def test_lite0_needs_a_scale_a_channel(lite0, crops, tmp_path):
    """The gate of the recipe bites: one scale a channel passes it on photographs that calibration never saw, one scale
    a weight does not, whatever else helps it. Both build."""
    from edgekit.recipe import load_recipe
    from edgekit.validate import validate

    model, recipe = lite0 / "stages" / "model.onnx", load_recipe("efficientnet_lite0_int8")
    gate = ",".join(limit for limit in recipe.validate.budget.split(",") if "_ms" not in limit)
    found = {}
    for per_channel in (True, False):
        out = tmp_path / f"{per_channel}.onnx"
        config = replace(recipe.quantize, data=str(crops / "calibration"), per_channel=per_channel)
        quantize(model, out, config)
        asked = ValidateConfig(model, str(crops / "held_out"), gate, "efficientnet_lite0_int8")
        found[per_channel] = validate(out, tmp_path / "v.json", asked)
        assert "int8" in built(out, tmp_path)
    assert {kind: report.exit_code for kind, report in found.items()} == {True: 0, False: 3}
    assert found[False].findings[0].outcome == "FAIL"
    assert found[True].findings[0].value > found[False].findings[0].value + 3
    assert found[True].samples == 80


@pytest.mark.slow  # full-size foreign networks at opset 9
@pytest.mark.parametrize("name", ["light_resnet50", "light_squeezenet", "light_bvlc_alexnet"])
def test_a_foreign_network(name, tmp_path):
    random = np.random.default_rng(0)
    (spec,) = graph_inputs(read_onnx(LIGHT / f"{name}.onnx"))
    np.savez(tmp_path / "x.npz", **{spec.name: random.uniform(size=(2, 3, 224, 224)).astype(np.float32)})
    report = quantize(LIGHT / f"{name}.onnx", tmp_path / "q.onnx", QuantizeConfig("int8", data=str(tmp_path / "x.npz")))
    assert report.quantized_layers >= 8
    built(report.path, tmp_path)


def shared_weight() -> onnx.ModelProto:
    """x -> w -> m -> the same w -> y, and x -> w turned -> z."""
    made = [node("Gemm", "x w", "m"), node("Gemm", "m w", "y"), node("Gemm", "x w", "z", transB=1)]
    return graph(made, [value("x", "batch", 5)], "yz", {"w": random_weight()})


def random_weight() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)


X = {"x": np.random.default_rng(1).normal(size=(20, 5)).astype(np.float32)}


def eight_bits(model: onnx.ModelProto, feeds, form: Form, levels=None) -> onnx.ModelProto:
    """With ranges by the largest value; layers that share a weight and an axis share its levels, if none are given."""
    changed, layers, weights = copy_of(model), layers_of(model), weights_of(model)
    ranges = {name: item.largest for name, item in seen(model, feeds).tensors.items()}
    plain = {(layer.weight, layer.axis): form.weight(weights[layer.weight], layer.axis) for layer in layers}
    return insert_qdq(
        changed, layers, ranges, levels or {layer.node: plain[layer.weight, layer.axis] for layer in layers}, form
    ).model


def by_numpy(x: np.ndarray, weight: np.ndarray, axis: int) -> np.ndarray:
    """x [N,I] on 255 levels times weight [I,O], its outputs along `axis` on 255 levels each; float64."""
    step = np.abs(x).max() / 127
    steps = np.abs(weight).max(axis=1 - axis, keepdims=True) / 127
    return np.rint(x / step) * step @ (np.rint(weight / steps) * steps)


def test_it_computes_what_numpy_does_with_rounded_numbers():
    model, weight, x = shared_weight(), random_weight().astype(float), X["x"].astype(float)
    found = run(eight_bits(model, X, Form()), X, "m")
    np.testing.assert_allclose(found["m"], by_numpy(x, weight, 1), atol=1e-5)
    np.testing.assert_allclose(found["z"], by_numpy(x, weight.T, 1), atol=1e-5)
    made = eight_bits(model, X, Form())
    assert count(made, "QuantizeLinear") == 2, "one for x, which two read, and one for m"
    assert count(made, "DequantizeLinear") == 2 + 2, "one weight for both layers of one axis"
    assert "w" not in weights_of(made)


def test_a_weight_that_was_rounded_for_the_inputs_of_each_layer_is_stored_for_each():
    model = shared_weight()
    plain = Form().weight(random_weight(), 1)
    other = (np.clip(plain[0].astype(int) + 1, -127, 127).astype(np.int8), plain[1])
    levels = {"m": plain, "y": other, "z": Form().weight(random_weight(), 0)}
    made = eight_bits(model, X, Form(), levels)
    stored = {item.name: item.input[1] for item in made.graph.node if item.op_type == "Gemm"}
    assert len(set(stored.values())) == 3
    makers = {item.output[0]: item for item in made.graph.node}
    for name, (values, scale) in levels.items():
        found = [weights_of(made)[key] for key in makers[stored[name]].input]
        for array, wanted in zip(found, (values, scale, np.zeros(5, np.int8)), strict=True):
            np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize("form", [Form(), Form(per_channel=False), Form(fit="mse"), Form(float8=True)])
@pytest.mark.parametrize("axis", [0, 1])
def test_what_rounding_takes_away(form, axis):
    weight = random_weight() * np.array([[0.1], [1], [3], [9], [0.01]], np.float32)
    values, scale = form.weight(weight, axis)
    assert scale.shape == ((5,) if form.per_channel else ())
    steps = np.expand_dims(scale, 1 - axis) if form.per_channel else scale
    wanted = weight.astype(float) - values.astype(float) * steps
    np.testing.assert_allclose(rounding_error(weight, (values, scale), axis), wanted, atol=1e-6)


FP8 = Form(float8=True)


def test_fp8_runs_in_onnxruntime():
    """Against the same numbers from ml_dtypes: activations and weights are E4M3, each with its own scale."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    model, weight, x = shared_weight(), random_weight(), X["x"]

    def rounded(array: np.ndarray, largest: np.ndarray) -> np.ndarray:
        scale = (largest / 448).astype(np.float32)
        return np.clip(array / scale, -448, 448).astype(ml_dtypes.float8_e4m3fn).astype(float) * scale

    made = eight_bits(model, X, FP8)
    made.opset_import[0].version = 20
    onnx.checker.check_model(made)
    wanted = rounded(x, np.abs(x).max()) @ rounded(weight, np.abs(weight).max(axis=0))
    np.testing.assert_allclose(run(made, X, "m")["m"], wanted, atol=1e-5)
    kinds = {item.data_type for item in made.graph.initializer}
    assert kinds == {onnx.TensorProto.FLOAT8E4M3FN, onnx.TensorProto.FLOAT}


@pytest.mark.parametrize("capability", ["8.9", "12.0", "8.6"])
def test_fp8_builds_from_sm_89_on(small_onnx, small_data, tmp_path, capability):
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build
    from edgekit.configs import BuildConfig
    from edgekit.errors import BuildError

    report = quantize(small_onnx, tmp_path / "q.onnx", QuantizeConfig("fp8", data=str(small_data)))
    assert sqnr_db(small_onnx, report.path, small_data) > 20
    config = BuildConfig("rtx", (capability,))
    if capability == "8.6":
        with pytest.raises(BuildError):
            build(report.path, tmp_path / "a.engine", config)
    else:
        assert "fp8" in " ".join(layer.dtype for layer in build(report.path, tmp_path / "a.engine", config).layers)
