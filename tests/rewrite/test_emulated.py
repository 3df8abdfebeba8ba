"""Which models are emulated, and which cannot be. How exact the emulation is: tests/quantize/test_bf16.py."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.errors import ModelError  # noqa: E402
from edgekit.rewrite.emulated import emulated, narrow_dtypes  # noqa: E402

helper = onnx.helper
node = helper.make_node
FLOAT, HALF, BF16, INT8 = (getattr(onnx.TensorProto, name) for name in ("FLOAT", "FLOAT16", "BFLOAT16", "INT8"))


def value(name, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, [2])


def model(nodes, inputs, outputs, tensors=()):
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("elsewhere", 1)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def branch(nodes):
    return helper.make_graph(nodes, "branch", [], [value("z")])


CONSTANT = node("Constant", [], ["c"], value=helper.make_tensor("c", HALF, [2], np.ones(2)))
WIDE = [node("Cast", ["x"], ["i"], to=INT8), node("Cast", ["i"], ["y"], to=FLOAT)]
INNER = branch([node("Cast", ["x"], ["n"], to=BF16), node("Cast", ["n"], ["z"], to=FLOAT)])
GO = helper.make_tensor("go", onnx.TensorProto.BOOL, [], [True])
MODELS = {
    "none": (model(WIDE, [value("x")], [value("y")]), ()),
    "an input": (model([node("Cast", ["x"], ["y"], to=FLOAT)], [value("x", HALF)], [value("y")]), ("fp16",)),
    "a weight": (
        model([node("Cast", ["w"], ["y"], to=FLOAT)], [], [value("y")], [helper.make_tensor("w", BF16, [2], [1, 2])]),
        ("bf16",),
    ),
    "a constant": (model([CONSTANT, node("Cast", ["c"], ["y"], to=FLOAT)], [], [value("y")]), ("fp16",)),
    "casts, of both": (
        model(
            [
                node("Cast", ["x"], ["b"], to=BF16),
                node("Cast", ["b"], ["h"], to=HALF),
                node("Cast", ["h"], ["y"], to=FLOAT),
            ],
            [value("x")], [value("y")],
        ),
        ("fp16", "bf16"),
    ),
    "a dequantization": (
        model(
            [node("DequantizeLinear", ["q", "s"], ["d"], output_dtype=HALF), node("Cast", ["d"], ["y"], to=FLOAT)],
            [value("q", INT8), helper.make_tensor_value_info("s", FLOAT, [])], [value("y")],
        ),
        ("fp16",),
    ),
    "a branch": (
        model([node("If", ["go"], ["y"], then_branch=INNER, else_branch=INNER)], [value("x")], [value("y")], [GO]),
        ("bf16",),
    ),
    "an integer that is no dtype": (model([node("Flatten", ["x"], ["y"], axis=10)], [value("x")], [value("y")]), ()),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_what_is_narrow_is_found_without_inference(name):
    made, wanted = MODELS[name]
    before = made.SerializeToString()
    assert narrow_dtypes(made) == wanted
    assert made.SerializeToString() == before


def test_what_is_dequantized_to_half_is_rounded():
    made, _ = MODELS["a dequantization"]
    nodes = [item for item in emulated(made).graph.node if item.op_type != "Identity"]
    assert [item.op_type for item in nodes] == ["DequantizeLinear", "Cast", "Cast", "Cast"]
    assert [nodes[0].attribute[0].i, *(item.attribute[0].i for item in nodes[1:])] == [FLOAT, HALF, FLOAT, FLOAT]


@pytest.mark.parametrize("inside", [False, True])
def test_a_dtype_that_cannot_be_inferred_is_refused(inside):
    nodes = [node("Odd", ["x"], ["n"], domain="elsewhere"), node("Cast", ["n"], ["z"], to=FLOAT)]
    if inside:
        inner = branch(nodes)
        outer = node("If", ["go"], ["y"], then_branch=inner, else_branch=inner)
        made = model([outer], [value("x")], [value("y")], [GO])
    else:
        made = model(nodes, [value("x")], [value("z")])
    with pytest.raises(ModelError, match=r"expected to know the dtype of 'n', found .* \(node Odd\)"):
        emulated(made)
    known = made.graph.node[0].attribute[0].g if inside else made.graph
    known.value_info.append(value("n", HALF))
    if inside:
        made.graph.node[0].attribute[1].g.value_info.append(value("n", HALF))
    emulated(made)  # where the file says it, nothing need be inferred


def test_what_nobody_reads_may_have_any_dtype():
    nodes = [node("Odd", ["x"], ["n"], domain="elsewhere"), node("Relu", ["x"], ["y"])]
    assert len(emulated(model(nodes, [value("x")], [value("y")])).graph.node) == 2


def test_sequences_are_typed_too():
    nodes = [node("SequenceConstruct", ["x"], ["s"]), node("ConcatFromSequence", ["s"], ["y"], axis=0)]
    assert len(emulated(model(nodes, [value("x")], [value("y")])).graph.node) == 2
