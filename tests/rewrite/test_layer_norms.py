"""Normalisations that only onnxruntime reads, against onnxruntime, and as files that onnx's checker refuses."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.judge import plain_session  # noqa: E402
from edgekit.rewrite.layer_norms import mend_layer_norms  # noqa: E402
from edgekit.rewrite.reading import read_onnx_file  # noqa: E402
from tests.rewrite.microsoft_graphs import WIDE, graph, normal  # noqa: E402

SIMPLE = {"gamma": normal(8)}
MATRIX = {"gamma": normal(5, 8), "beta": normal(5, 8)}
CASES = {
    "opset 11": ("LayerNormalization", WIDE, 11, {"axis": -1, "epsilon": 1e-3}),
    "opset 16": ("LayerNormalization", WIDE, 16, {}),
    "no bias": ("LayerNormalization", SIMPLE, 13, {}),
    "an axis from the left": ("LayerNormalization", WIDE, 13, {"axis": 2}),
    "two axes": ("LayerNormalization", MATRIX, 13, {"axis": 1}),
    "two axes from the right": ("LayerNormalization", MATRIX, 13, {"axis": -2}),
    "simplified": ("SimplifiedLayerNormalization", SIMPLE, 13, {"axis": -1, "epsilon": 1e-3}),
    "simplified, opset 20": ("SimplifiedLayerNormalization", SIMPLE, 20, {"axis": -1}),
    "simplified, opset 23": ("SimplifiedLayerNormalization", SIMPLE, 23, {"axis": -1}),
}


def made(name: str) -> onnx.ModelProto:
    op, weights, opset, attributes = CASES[name]
    return graph(op, weights, opset=opset, domain="", **attributes)


@pytest.mark.parametrize("name", CASES)
def test_it_is_read_as_onnxruntime_computes_it(name, tmp_path):
    (tmp_path / "m.onnx").write_bytes(made(name).SerializeToString())
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(made(name))
    found = read_onnx_file(tmp_path / "m.onnx")
    assert not any(item.op_type == CASES[name][0] for item in found.model.graph.node)
    for batch in (1, 3):
        x = {"x": 3 * np.random.default_rng(batch).normal(size=(batch, 5, 8)).astype(np.float32)}
        (want,), (got,) = (
            plain_session(item).run(None, x) for item in (made(name).SerializeToString(), found.serialized)
        )
        assert want.std() > 0.1
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


def test_half_precision_does_not_overflow():
    """300^2 is more than FP16 holds; the oracle is NumPy in double precision."""
    model = made("opset 11")
    for item in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        item.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    for tensor in model.graph.initializer:
        tensor.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float16), tensor.name)
        )
    x = (300 * np.random.default_rng(0).normal(size=(2, 5, 8))).astype(np.float16)
    assert mend_layer_norms(model).modified
    onnx.checker.check_model(model, full_check=True)
    (found,) = plain_session(model.SerializeToString()).run(None, {"x": x})
    wide = -x.astype(np.float64)
    normed = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(found, -(normed * WIDE["gamma"] + WIDE["beta"]), atol=6e-3)


def test_onnxs_own_stays():
    model = graph("LayerNormalization", WIDE, opset=17, domain="")
    before = model.SerializeToString()
    assert not mend_layer_norms(model).modified
    assert model.SerializeToString() == before


@pytest.mark.parametrize("outputs", [("y", "mean"), ("y", "", "deviation")])
def test_one_that_gives_more_away_stays(outputs):
    model = graph("LayerNormalization", WIDE, outputs=outputs, opset=13, domain="")
    assert not mend_layer_norms(model).modified
