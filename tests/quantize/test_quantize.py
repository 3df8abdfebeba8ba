"""FP16: the same numbers within half precision, the same inputs and outputs, half the weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.configs import QuantizeConfig  # noqa: E402
from edgekit.errors import QuantizeError, UsageError  # noqa: E402
from edgekit.judge import outputs_of  # noqa: E402
from edgekit.metrics import Sqnr  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402
from edgekit.rewrite.reading import graph_inputs, read_onnx  # noqa: E402

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))
FP16 = QuantizeConfig("fp16")


def test_small_network(small_onnx, small_data, tmp_path):
    report = quantize(small_onnx, tmp_path / "half.onnx", FP16)
    with np.load(small_data) as archive:
        batches = [{"image": archive["image"][:3]}, {"image": archive["image"][3:]}]
    for wanted, found in zip(outputs_of(small_onnx, batches), outputs_of(report.path, batches), strict=True):
        assert found["logits"].dtype == np.float32
        # Half precision has 11 bits; sums of 27 and 6 products stay within a few of its last places.
        np.testing.assert_allclose(found["logits"], wanted["logits"], atol=8 * 2**-11 * np.abs(wanted["logits"]).max())
        assert not np.array_equal(found["logits"], wanted["logits"])
    assert report.weights == {"float16": 2 * (6 * 27 + 6 + 30)}
    assert json.loads((tmp_path / "half.onnx.json").read_text())["precision"] == "fp16"


def test_kept_operators_stay_in_fp32(small_onnx, tmp_path):
    report = quantize(small_onnx, tmp_path / "half.onnx", QuantizeConfig("fp16", ("MatMul",)))
    assert report.kept_ops == {"MatMul": 1}
    assert report.weights["float32"] == 4 * 30
    with pytest.raises(QuantizeError, match="did you mean 'MatMul'"):
        quantize(small_onnx, tmp_path / "other.onnx", QuantizeConfig("fp16", ("MatMull",)))
    assert not (tmp_path / "other.onnx").exists()


def test_a_half_model_is_left_alone(small_onnx, tmp_path):
    half = quantize(small_onnx, tmp_path / "half.onnx", FP16).path
    again = quantize(half, tmp_path / "again.onnx", FP16)
    assert again.warnings == ("the model already holds FP16 weights and was left as it is",)
    assert again.path.read_bytes() == half.read_bytes()


def test_a_weight_beyond_half_precision_is_said(small_onnx, tmp_path):
    model = onnx.load(small_onnx)
    kernel = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    kernel[0, 0, 0, 0] = 1e6
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(kernel, "kernel"))
    onnx.save(model, tmp_path / "large.onnx")
    report = quantize(tmp_path / "large.onnx", tmp_path / "o.onnx", FP16)
    assert report.warnings == ("weight 'kernel' holds 1e+06, beyond FP16: clipped to 65504",)


def test_recurrent_layers_stay_in_fp32(tmp_path):
    """TensorRT's importers reject an FP16 LSTM with lengths; the oracle is the FP32 model itself."""
    random, helper = np.random.default_rng(0), onnx.helper
    shapes = {"W": (1, 16, 3), "R": (1, 16, 4)}
    weights = [onnx.numpy_helper.from_array(random.normal(size=s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R", "", "lengths"], ["y"], "lstm", hidden_size=4),
        helper.make_node("ReduceSum", ["y"], ["sum"], "sum", keepdims=0),
    ]
    inputs = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["time", "batch", 3]),
        helper.make_tensor_value_info("lengths", onnx.TensorProto.INT32, ["batch"]),
    ]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("sum", 1, [])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    report = quantize(tmp_path / "m.onnx", tmp_path / "half.onnx", FP16)
    assert report.weights == {"float32": 4 * (48 + 64)}
    batch = {"x": random.normal(size=(5, 2, 3)).astype(np.float32), "lengths": np.array([5, 2], np.int32)}
    wanted, found = (next(outputs_of(path, [batch]))["sum"] for path in (tmp_path / "m.onnx", report.path))
    np.testing.assert_allclose(found, wanted, rtol=2e-3)


def test_a_precision_that_is_not_there(small_onnx):
    with pytest.raises(UsageError, match="found 'int3'"):
        QuantizeConfig("int3")


@pytest.mark.slow  # full-size networks
@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_foreign_networks_compute_in_half_precision(path, tmp_path):
    """Opset 9, initializers listed as inputs, weights from ConstantOfShape: so the oracle is the FP32 file itself."""
    report = quantize(path, tmp_path / "half.onnx", FP16)
    (spec,) = graph_inputs(read_onnx(path))
    feeds = {spec.name: np.random.default_rng(0).uniform(size=spec.shape).astype(np.float32)}
    wanted, found = (next(outputs_of(model, [feeds])) for model in (path, report.path))
    for name, array in wanted.items():
        meter = Sqnr()
        meter.add(array, found[name])
        # The package fills these networks with constants; the sums of two of them overflow half precision.
        overflows = path.stem in ("light_inception_v1", "light_squeezenet")
        assert meter.db() == -math.inf if overflows else meter.db() > 40, name


def constant(value: float) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.array([value, 1], np.float32), "anything")


def saved(path: Path, nodes: list, inputs: list) -> Path:
    helper = onnx.helper
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", 1, ["n", 2])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


X = onnx.helper.make_tensor_value_info("x", 1, ["n", 2])


def test_a_constant_node_beyond_half_precision_is_said(tmp_path):
    nodes = [
        onnx.helper.make_node("Constant", [], ["c"], value=constant(-1e6)),
        onnx.helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    report = quantize(saved(tmp_path / "m.onnx", nodes, [X]), tmp_path / "o.onnx", FP16)
    assert report.warnings == ("weight 'c' holds 1e+06, beyond FP16: clipped to 65504",)
    assert next(outputs_of(report.path, [{"x": np.zeros((1, 2), np.float32)}]))["y"].tolist() == [[-65504, 1]]


def test_a_weight_inside_a_branch_beyond_half_precision_is_said(tmp_path):
    helper = onnx.helper

    def branch(name: str, value: float) -> onnx.GraphProto:
        weight = constant(value)
        weight.name = f"w_{name}"
        out = helper.make_tensor_value_info(name, 1, ["n", 2])
        return helper.make_graph([helper.make_node("Add", ["x", weight.name], [name])], name, [], [out], [weight])

    node = helper.make_node("If", ["go"], ["y"], then_branch=branch("yes", 1e6), else_branch=branch("no", 1))
    source = saved(tmp_path / "m.onnx", [node], [X, helper.make_tensor_value_info("go", onnx.TensorProto.BOOL, [])])
    report = quantize(source, tmp_path / "o.onnx", FP16)
    assert report.warnings == ("weight 'w_yes' holds 1e+06, beyond FP16: clipped to 65504",)


def test_inputs_and_outputs_keep_names_dtypes_and_axes(small_onnx, tmp_path):
    half = read_onnx(quantize(small_onnx, tmp_path / "half.onnx", FP16).path)
    whole = read_onnx(small_onnx)
    assert (half.graph.input, half.graph.output) == (whole.graph.input, whole.graph.output)
    assert {tensor.data_type for tensor in half.graph.initializer} == {onnx.TensorProto.FLOAT16}


def test_the_report_beside_it_tells_the_sizes_on_disk(small_onnx, tmp_path):
    quantize(small_onnx, tmp_path / "half.onnx", FP16)
    table = json.loads((tmp_path / "half.onnx.json").read_text())
    assert table["stage"] == "quantize"
    assert table["bytes_before"] == small_onnx.stat().st_size
    assert table["bytes_after"] == (tmp_path / "half.onnx").stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half.onnx", "half.onnx.json"]


def test_an_output_that_is_a_weight_stays_valid(tmp_path):
    helper = onnx.helper
    x, y, c = (helper.make_tensor_value_info(name, 1, [2]) for name in ("x", "y", "c"))
    constant = onnx.numpy_helper.from_array(np.array([1.5, 2.5], np.float32), "c")
    graph = helper.make_graph([helper.make_node("Add", ["x", "c"], ["y"])], "g", [x], [y, c], [constant])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    report = quantize(tmp_path / "m.onnx", tmp_path / "half.onnx", FP16)
    found = next(outputs_of(report.path, [{"x": np.ones(2, np.float32)}]))
    np.testing.assert_array_equal(found["y"], [2.5, 3.5])
    np.testing.assert_array_equal(found["c"], [1.5, 2.5])
