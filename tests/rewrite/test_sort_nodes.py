"""Any order of the nodes is put right, also where a subgraph captures a name; a cycle is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from onnx.reference import ReferenceEvaluator  # noqa: E402

from edgekit.errors import ModelError  # noqa: E402
from edgekit.rewrite.sort_nodes import sort_nodes  # noqa: E402

helper = onnx.helper
X = np.array([1.5, -2.0], np.float32)


def model(nodes, output: str) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, [2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), size=st.integers(1, 9))
def test_a_shuffled_graph_computes_the_same(data, size):
    names = ["x", *(f"v{index}" for index in range(size))]
    nodes = []
    for index in range(size):
        inputs = [data.draw(st.sampled_from(names[: index + 1])) for _ in range(2)]
        nodes.append(helper.make_node(data.draw(st.sampled_from(["Add", "Sub"])), inputs, [names[index + 1]]))
    straight = model(nodes, names[-1])
    assert not sort_nodes(straight).modified
    wanted = ReferenceEvaluator(straight).run(None, {"x": X})[0]
    shuffled = model(data.draw(st.permutations(nodes)), names[-1])
    sort_nodes(shuffled)
    onnx.checker.check_model(shuffled)
    np.testing.assert_array_equal(ReferenceEvaluator(shuffled).run(None, {"x": X})[0], wanted)


def test_what_a_subgraph_captures_comes_first():
    def branch(op):
        out = helper.make_tensor_value_info("inner", onnx.TensorProto.FLOAT, [2])
        return helper.make_graph([helper.make_node(op, ["made"], ["inner"])], op, [], [out])

    condition = onnx.numpy_helper.from_array(np.array(True), "c")
    choose = helper.make_node("If", ["cond"], ["y"], then_branch=branch("Neg"), else_branch=branch("Abs"))
    nodes = [
        choose,
        helper.make_node("Exp", ["x"], ["made"]),
        helper.make_node("Constant", [], ["cond"], value=condition),
    ]
    shuffled = model(nodes, "y")
    assert sort_nodes(shuffled).modified
    onnx.checker.check_model(shuffled)
    np.testing.assert_allclose(ReferenceEvaluator(shuffled).run(None, {"x": X})[0], -np.exp(X), rtol=1e-6)


def test_a_cycle_is_refused():
    nodes = [helper.make_node("Add", ["x", "b"], ["a"], "first"), helper.make_node("Neg", ["a"], ["b"], "second")]
    with pytest.raises(ModelError, match="found one through node 'first'"):
        sort_nodes(model(nodes, "b"))


def test_a_sorted_graph_is_not_touched(small_onnx):
    whole = onnx.load(small_onnx)
    before = whole.SerializeToString()
    result = sort_nodes(whole)
    assert not result.modified
    assert result.model is whole
    assert whole.SerializeToString() == before


def test_nodes_inside_a_branch_are_sorted_too():
    out = helper.make_tensor_value_info("inner", onnx.TensorProto.FLOAT, [2])
    inside = [helper.make_node("Neg", ["twice"], ["inner"]), helper.make_node("Add", ["x", "x"], ["twice"])]
    branches = {name: helper.make_graph(inside, name, [], [out]) for name in ("then_branch", "else_branch")}
    condition = onnx.numpy_helper.from_array(np.array(True), "c")
    nodes = [
        helper.make_node("Constant", [], ["cond"], value=condition),
        helper.make_node("If", ["cond"], ["y"], **branches),
    ]
    shuffled = model(nodes, "y")
    assert sort_nodes(shuffled).modified
    onnx.checker.check_model(shuffled)
    np.testing.assert_array_equal(ReferenceEvaluator(shuffled).run(None, {"x": X})[0], -2 * X)


def test_a_branch_that_only_hands_a_name_on_depends_on_it():
    """The captured name stands in the branch's outputs alone; no node of the branch reads it."""
    out = helper.make_tensor_value_info("made", onnx.TensorProto.FLOAT, [2])
    branches = {name: helper.make_graph([], name, [], [out]) for name in ("then_branch", "else_branch")}
    condition = onnx.numpy_helper.from_array(np.array(True), "c")
    nodes = [
        helper.make_node("If", ["cond"], ["y"], **branches),
        helper.make_node("Constant", [], ["cond"], value=condition),
        helper.make_node("Exp", ["x"], ["made"]),
    ]
    shuffled = model(nodes, "y")
    assert sort_nodes(shuffled).modified
    assert [node.op_type for node in shuffled.graph.node] == ["Constant", "Exp", "If"]


def test_a_node_that_feeds_itself_is_a_cycle():
    with pytest.raises(ModelError, match="found one through node 'itself'"):
        sort_nodes(model([helper.make_node("Add", ["x", "y"], ["y"], "itself")], "y"))
