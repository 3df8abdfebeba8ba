"""ONNX -> engine with TensorRT-RTX itself, which builds without a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX builds the engines of these tests")

from edgekit.build import build  # noqa: E402
from edgekit.configs import BuildConfig, QuantizeConfig  # noqa: E402
from edgekit.errors import BuildError, EdgekitError, TargetError  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))
FAST = ("light_squeezenet", "light_bvlc_alexnet")


def test_an_engine_with_its_report(small_onnx, tmp_path):
    half = quantize(small_onnx, tmp_path / "half.onnx", QuantizeConfig("fp16")).path
    report = build(half, tmp_path / "a.engine", BuildConfig("rtx", ("8.6", "8.9"), ("image:2x3x8x8:4x3x8x8:6x3x8x8",)))
    assert report.compute_capabilities == ("8.6", "8.9")
    assert report.shapes == ("image:2x3x8x8:4x3x8x8:6x3x8x8",)
    assert (tmp_path / "a.engine").stat().st_size == report.bytes
    assert {layer.dtype for layer in report.layers if layer.kind == "correlation"} == {"half"}
    assert any("conv" in layer.nodes for layer in report.layers)
    assert json.loads((tmp_path / "a.engine.json").read_text())["layers"][0]["name"] == report.layers[0].name


def test_two_builds_are_bit_identical(small_onnx, tmp_path):
    digests = {build(small_onnx, tmp_path / name, BuildConfig("rtx", ("8.6",))).sha256 for name in ("a", "b")}
    assert len(digests) == 1


def test_for_the_cpu_the_engine_is_the_onnx(small_onnx, tmp_path):
    report = build(small_onnx, tmp_path / "a.engine", BuildConfig("cpu"))
    assert report.path.read_bytes() == small_onnx.read_bytes()
    assert (report.flavour, report.compute_capabilities, report.layers) == ("ort", (), ())


@pytest.mark.parametrize("path", [
    pytest.param(path, marks=[] if path.stem in FAST else pytest.mark.slow, id=path.stem) for path in LIGHT
])  # fmt: skip
def test_foreign_models_build(path, tmp_path):
    """Weights from ConstantOfShape, initializers listed as inputs, names with a slash, opset 9."""
    half = quantize(path, tmp_path / "half.onnx", QuantizeConfig("fp16")).path
    for source in (path, half):
        assert build(source, tmp_path / "a.engine", BuildConfig("rtx", ("8.6",))).bytes > 100_000


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (BuildConfig("jetpack6"), "expected TensorRT 10.3 to build for target jetpack6"),
        (BuildConfig("desktop"), "expected TensorRT 10 or 11"),
        (BuildConfig("rtx", ("8.7",)), "with one of 7.5, 8.0, 8.6"),
        (BuildConfig("cpu", ("8.6",)), "expected no compute capability for target cpu"),
    ],
)
def test_what_cannot_be_built_here(small_onnx, tmp_path, config, says):
    with pytest.raises(TargetError) as error:
        build(small_onnx, tmp_path / "a.engine", config)
    assert error.value.exit_code == 6
    assert says in str(error.value)
    assert list(tmp_path.iterdir()) == []


def model(op: str, domain: str, **attributes) -> onnx.ModelProto:
    helper = onnx.helper
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 4]) for name in "xy")
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], "culprit", domain=domain, **attributes)], "g", [x], [y]
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("house", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def test_a_refused_node_is_named(tmp_path):
    onnx.save(model("Unheard", "house"), tmp_path / "m.onnx")
    with pytest.raises(BuildError) as error:
        build(tmp_path / "m.onnx", tmp_path / "a.engine", BuildConfig("rtx"))
    assert "'culprit' (Unheard)" in str(error.value)
    with pytest.raises(EdgekitError, match="onnxruntime refuses"):
        build(tmp_path / "m.onnx", tmp_path / "a.engine", BuildConfig("cpu"))
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_ctrl_c_inside_tensorrt_stops_it(small_onnx, tmp_path):
    def interrupted(what: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(small_onnx, tmp_path / "a.engine", BuildConfig("rtx"), interrupted)
    assert list(tmp_path.iterdir()) == []
