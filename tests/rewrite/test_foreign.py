"""All passes together: order, notes, and that what needs none of them costs nothing and stays the same object."""

from __future__ import annotations

import time

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.judge import plain_session  # noqa: E402
from edgekit.rewrite.foreign import standard  # noqa: E402
from edgekit.rewrite.names import Names  # noqa: E402
from tests.build import foreign_graphs as graphs  # noqa: E402
from tests.build.foreign_graphs import branch, model, node  # noqa: E402


def test_a_clean_model_is_the_same_object(small_onnx):
    made = onnx.load(small_onnx)
    before = made.SerializeToString()
    done = standard(made)
    assert done.model is made
    assert (done.modified, done.notes) == (False, ())
    assert made.SerializeToString() == before


def test_a_clean_model_of_300_nodes_costs_as_much_as_a_few_looks_at_it():
    tensors = ["x", *(f"t{index}" for index in range(1, 300)), "y"]
    made = model(node("LeakyRelu", [tensors[at]], [tensors[at + 1]], f"n{at}", alpha=0.1) for at in range(300))
    assert not standard(made).modified

    def least(call) -> float:
        took = []
        for _ in range(9):
            start = time.perf_counter()
            call()
            took.append(time.perf_counter() - start)
        return min(took)

    def walk():
        """Each node's names, read once in Python: what any look at a graph costs."""
        return [(item.op_type, item.domain, list(item.input), list(item.output)) for item in made.graph.node]

    assert least(lambda: standard(made)) < 40 * least(walk), "300 times would be quadratic"


def test_a_function_may_hide_what_onnxruntime_wrote():
    """The body calls com.microsoft's FastGelu: it is seen only once the function is written out."""
    body = [node("FastGelu", ["a"], ["b"], "", domain="com.microsoft")]
    opsets = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("com.microsoft", 1)]
    made = model([node("Once", ["x"], ["y"], "call", domain="house")])
    made.functions.append(onnx.helper.make_function("house", "Once", ["a"], ["b"], body, opsets))
    made.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    x = {"x": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)}
    (want,) = plain_session(made.SerializeToString()).run(None, x)
    done = standard(made)
    assert [item.op_type for item in done.model.graph.node] == ["Gelu"]
    assert all(item.name for item in done.model.graph.node)
    np.testing.assert_allclose(plain_session(done.model.SerializeToString()).run(None, x)[0], want, atol=1e-6)


def test_what_onnxruntime_wrote_inside_a_branch():
    """Its constants are in the main graph, under names that no branch hides: `q_constant` is taken in one."""
    inside = branch("then", [node("QuickGelu", ["x"], ["q_constant"], "q", domain="com.microsoft"),
                             node("Neg", ["q_constant"], ["then"], "neg")])  # fmt: skip
    other = branch("else", [node("BiasGelu", ["x", "b"], ["else"], "g", domain="com.microsoft")])
    nodes = [
        node("ReduceSum", ["x"], ["sum"], "sum", keepdims=0),
        node("Greater", ["sum", "zero"], ["c"], "positive"),
        node("If", ["c"], ["y"], "choose", then_branch=inside, else_branch=other),
    ]
    made = model(nodes, {"zero": np.float32(0), "b": graphs.normal(4)})
    made.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    theirs = plain_session(made.SerializeToString())
    done = standard(made)
    assert done.modified
    onnx.checker.check_model(done.model, full_check=True)
    ours = plain_session(done.model.SerializeToString())
    for sign in (1, -1):
        x = {"x": sign * np.abs(graphs.normal(3, 4))}
        np.testing.assert_allclose(ours.run(None, x)[0], theirs.run(None, x)[0], atol=1e-6)


def test_a_note_is_handed_on():
    assert "float64" in standard(graphs.double_inside()).notes[0]


def test_names_inside_of_branches_are_taken():
    inside = branch("then", [node("Relu", ["x"], ["hidden"], "n"), node("Neg", ["hidden"], ["then"])])
    names = Names(model([node("If", ["c"], ["y"], then_branch=inside, else_branch=inside)]))
    assert names("hidden") == "hidden_1"
    assert names("n") == "n_1"
    assert names("free") == "free"
