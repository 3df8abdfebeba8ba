"""What onnxruntime's optimizers write, against onnxruntime itself, which computes those operators natively."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.judge import plain_session  # noqa: E402
from edgekit.rewrite.microsoft import decompose_microsoft  # noqa: E402
from tests.rewrite.microsoft_graphs import DECOMPOSED, REFUSED, graph, normal  # noqa: E402


def feeds(model: onnx.ModelProto, batch: int) -> dict[str, np.ndarray]:
    shapes = {
        item.name: [dim.dim_value or batch for dim in item.type.tensor_type.shape.dim] for item in model.graph.input
    }
    return {name: 3 * normal(*shape) for name, shape in shapes.items()}


def run(model: onnx.ModelProto, batch: int) -> list[np.ndarray]:
    return plain_session(model.SerializeToString()).run(None, feeds(model, batch))


def copy(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(model.SerializeToString())


@pytest.mark.parametrize("name", DECOMPOSED)
def test_the_parts_compute_what_onnxruntime_does(name):
    """At two batches; what is left has ONNX's own operators alone and passes its checker."""
    model = DECOMPOSED[name]
    made = decompose_microsoft(copy(model))
    assert made.modified
    assert {node.domain for node in made.model.graph.node} == {""}
    onnx.checker.check_model(made.model, full_check=True)
    for batch in (1, 3):
        for want, got in zip(run(model, batch), run(made.model, batch), strict=True):
            assert want.std() > 1e-3
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


def in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph in FP16, without what the file notes of inner values: types have to be found."""
    made = copy(model)
    del made.graph.value_info[:]
    for item in (*made.graph.input, *made.graph.output):
        item.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    for tensor in made.graph.initializer:
        half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
    return made


@pytest.mark.parametrize("name", DECOMPOSED)
def test_constants_have_the_type_of_the_model(name):
    """onnx's full check fails where an FP32 constant meets FP16; ranks are inferred, too, where the file notes none."""
    made = decompose_microsoft(in_half(DECOMPOSED[name])).model
    assert {node.domain for node in made.graph.node} == {""}
    onnx.checker.check_model(made, full_check=True)
    assert made.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16


@pytest.mark.parametrize("name", REFUSED)
def test_a_form_that_is_not_written_stays_as_it_is(name):
    model = copy(REFUSED[name])
    nodes = [node.SerializeToString() for node in model.graph.node]
    assert not decompose_microsoft(model).modified
    assert [node.SerializeToString() for node in model.graph.node] == nodes


def test_ranks_follow_through_what_was_fused_before():
    """Gelu, then a product with its right side turned: only the rewritten Gelu tells shape inference its rank."""
    model = graph("FusedMatMul", {}, {"x": ("N", 5, 8), "z": ("N", 6, 8)}, transB=1)
    model.graph.node[1].op_type, model.graph.node[1].domain = "Gelu", "com.microsoft"
    del model.graph.value_info[:]
    before = run(model, 2)
    made = decompose_microsoft(copy(model)).model
    assert {node.domain for node in made.graph.node} == {""}
    np.testing.assert_allclose(run(made, 2)[0], before[0], rtol=2e-5, atol=2e-5)


def test_quantize_and_dequantize_become_onnxs():
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q", domain="com.microsoft"),
        onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "d", domain="com.microsoft"),
    ]
    model = graph("Gelu", {"s": np.float32(0.05), "z": np.uint8(120)})
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    made = decompose_microsoft(copy(model)).model
    assert [(node.domain, node.op_type) for node in made.graph.node] == [
        ("", "QuantizeLinear"),
        ("", "DequantizeLinear"),
    ]
    onnx.checker.check_model(made, full_check=True)
    np.testing.assert_array_equal(run(made, 3)[0], run(model, 3)[0])


@pytest.mark.slow  # exports two networks with torch
@pytest.mark.parametrize("name", ["bert_classifier", "gpt2"])
def test_what_onnxruntimes_own_optimizer_writes(name, tmp_path):
    """A transformer through ORT_ENABLE_EXTENDED: the file it saves, and ours of it, at a second batch and length."""
    pytest.importorskip("torch")
    import onnxruntime

    from edgekit.configs import ExportConfig
    from edgekit.export import export
    from tests.export.cases import CASES

    source = export(name, tmp_path / "m.onnx", ExportConfig(set=CASES[name].settings)).path
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3  # it warns that the file is for this machine
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    model = onnx.load(tmp_path / "optimized.onnx")
    fused = {node.op_type for node in model.graph.node if node.domain}
    assert len(fused) >= 3
    made = decompose_microsoft(copy(model)).model
    assert {node.domain for node in made.graph.node} == {""}
    tokens = np.random.default_rng(1).integers(0, 11, (3, 7))
    names = [item.name for item in model.graph.input]
    inputs = {item: np.ones_like(tokens) if item == "mask" else tokens for item in names}
    for want, got in zip(
        *(plain_session(item.SerializeToString()).run(None, inputs) for item in (model, made)), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_constants_of_an_old_file_need_not_be_inputs():
    """Before IR version 4 every initializer was an input too, and a caller would have to feed ours."""
    model = graph("QuickGelu", opset=8)
    model.ir_version = 3
    made = decompose_microsoft(copy(model)).model
    onnx.checker.check_model(made)
    assert [item.name for item in made.graph.input] == ["x"]
    np.testing.assert_allclose(run(made, 2)[0], run(model, 2)[0], rtol=2e-5, atol=2e-5)
