"""The digest of a quantization: the same for the same scales, whatever a file calls or stores them as."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.rewrite.scales import scales_sha256


def quantized(
    scale: float = 0.5, zero: int = 3, *, name: str = "s", axis: int = 1, raw: bool = True, node: bool = False
) -> onnx.ModelProto:
    value = numpy_helper.from_array(np.float32(scale), name)
    if not raw:
        value = helper.make_tensor(name, TensorProto.FLOAT, [], [scale])
    tensors = [numpy_helper.from_array(np.int8(zero), "z")] + ([] if node else [value])
    nodes = [helper.make_node("Constant", [], [name], value=value)] if node else []
    nodes += [
        helper.make_node("QuantizeLinear", ["x", name, "z"], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", name, "z"], ["y"], axis=axis),
    ]
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, [2, 2]) for end in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


def test_it_is_the_sha256_of_what_the_docstring_says():
    one = b"1 []\n" + np.float32(0.5).tobytes() + b"3 []\n" + np.int8(3).tobytes()
    ops = (b"QuantizeLinear", b"DequantizeLinear")
    text = b"".join(op + b" [('axis', 1)]\n" + one for op in ops)
    assert scales_sha256(quantized()) == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("change", [{"name": "another"}, {"raw": False}, {"node": True}])
def test_names_and_forms_do_not_count(change):
    assert scales_sha256(quantized(**change)) == scales_sha256(quantized())


@pytest.mark.parametrize("change", [{"scale": 0.25}, {"zero": 4}, {"axis": 0}])
def test_numbers_do(change):
    assert scales_sha256(quantized(**change)) != scales_sha256(quantized())


def test_a_model_of_floats_has_none():
    model = quantized()
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Relu", ["x"], ["y"]))
    assert scales_sha256(model) == ""


def test_branches_count_and_a_scale_that_is_computed_says_nothing():
    inner = quantized().graph
    del inner.input[:]
    inner.name = "inner"
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])
    node = helper.make_node("If", ["c"], ["out"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph([node], "g", [condition, value], [helper.make_tensor_value_info("out", 1, [2, 2])])
    twice = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    assert scales_sha256(twice) not in ("", scales_sha256(quantized()))
    computed, other = quantized(), quantized(scale=0.75)
    for model in (computed, other):
        del model.graph.initializer[1]
    assert scales_sha256(computed) == scales_sha256(other) != scales_sha256(quantized())
