"""How much is computed in which precision, and what a requirement refuses."""

from __future__ import annotations

import json

import pytest

onnx = pytest.importorskip("onnx")

from edgekit.build import build  # noqa: E402
from edgekit.build.layers import Layer  # noqa: E402
from edgekit.build.proof import account, check_required, parse_required  # noqa: E402
from edgekit.configs import BuildConfig, QuantizeConfig  # noqa: E402
from edgekit.errors import BuildError, UsageError  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402
from edgekit.rewrite.reading import read_onnx  # noqa: E402
from edgekit.specs import ShapeRange  # noqa: E402

IMAGE = (ShapeRange("image", (1, 3, 8, 8), (2, 3, 8, 8), (8, 3, 8, 8)),)
CONV, DENSE = 2 * 6 * 64 * 27, 2 * 6 * 5


def layer(name: str, computes: str, *nodes: str, kind: str = "correlation") -> Layer:
    return Layer(name, kind, computes, "", nodes, computes=computes)


def test_a_node_counts_where_it_is_computed_and_not_where_it_is_moved(small_onnx):
    layers = (
        layer("pad", "fp32", "conv", kind="kgen"),
        layer("conv", "int8", "conv", "relu"),
        layer("copy", "fp32", "conv", "dense", kind="copy"),
        layer("dense", "fp16", "dense", kind="gemm"),
    )
    found = account(read_onnx(small_onnx), IMAGE, layers)
    assert [item.macs for item in found.layers] == [0, CONV, 0, DENSE]
    assert found.compute.total_macs == CONV + DENSE
    assert found.compute.shares == pytest.approx(
        {"int8": CONV / (CONV + DENSE), "fp16": DENSE / (CONV + DENSE)}, abs=1e-6
    )


def test_without_layers_the_onnx_says_it(small_onnx):
    assert account(read_onnx(small_onnx), IMAGE, ()).compute.shares == {"fp32": 1.0}


@pytest.mark.parametrize("text", ["fp16", "fp16=", "fp16=1.5", "fp16=0", "half=0.9", "fp16=0.9=1", "fp16=1.2.3", ""])
def test_a_malformed_requirement_is_a_usage_error(text):
    with pytest.raises(UsageError, match=r"--require-precision fp16=0\.9"):
        parse_required(text)


def test_requirements_that_hold_and_one_that_does_not(small_onnx):
    found = account(read_onnx(small_onnx), IMAGE, (layer("conv", "int8", "conv"), layer("dense", "fp16", "dense")))
    check_required(("int8=0.9", "int8+fp16=1"), found)
    with pytest.raises(BuildError) as error:
        check_required(("fp16=0.5",), found)
    assert str(error.value) == (
        "expected 50% of the multiply-adds in fp16, found 0.3%; not so conv (int8, 99.7%); "
        "next: the FP32 model through edgekit quantize --precision fp16"
    )


def test_a_node_of_unknown_size_cannot_be_proved(tmp_path):
    helper = onnx.helper
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4, 4])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 4])
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"], "where"),
        helper.make_node("Cast", ["places"], ["numbers"], "cast", to=onnx.TensorProto.FLOAT),
        helper.make_node("Transpose", ["numbers"], ["turned"], "turn"),
        helper.make_node("Gemm", ["turned", "w"], ["z"], "unsized"),
        helper.make_node("MatMul", ["z", "x"], ["y"], "unsized_too"),
    ]
    w = helper.make_tensor("w", onnx.TensorProto.FLOAT, [2, 4], [1.0] * 8)
    graph = helper.make_graph(nodes, "g", [x], [y], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    found = account(model, (ShapeRange("x", (4, 4), (4, 4), (4, 4)),), ())
    assert found.compute.unsized == ("unsized", "unsized_too")
    with pytest.raises(BuildError, match=r"unsized \(fp32, size unknown\)"):
        check_required(("fp16=0.1",), found)


@pytest.fixture(scope="module")
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX builds the engines of these tests")


@pytest.mark.usefixtures("rtx")
def test_an_fp32_engine_that_was_to_be_fp16_is_an_error(small_onnx, tmp_path):
    config = BuildConfig("rtx", ("8.6",), require_precision=("fp16=0.9",))
    with pytest.raises(BuildError, match=r"found 0\.0%; not so conv \(fp32, 99\.7%\), dense \(fp32, 0\.3%\)"):
        build(small_onnx, tmp_path / "a.engine", config)
    assert list(tmp_path.iterdir()) == []
    half = quantize(small_onnx, tmp_path / "half.onnx", QuantizeConfig("fp16")).path
    report = build(half, tmp_path / "a.engine", config)
    assert report.compute.shares == {"fp16": 1.0}
    table = json.loads((tmp_path / "a.engine.json").read_text())
    assert table["memory"]["weights_bytes"] > 0
    assert table["compute"]["total_macs"] == (CONV + DENSE) // 2, "opt is a batch of 1"
