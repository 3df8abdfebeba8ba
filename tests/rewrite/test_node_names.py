"""Every node gets a name of its own; no tensor changes, and named files stay as they are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from edgekit.rewrite.names import graphs_of  # noqa: E402
from edgekit.rewrite.node_names import name_nodes  # noqa: E402
from tests.build.foreign_graphs import branch, model, node  # noqa: E402

UNSPEAKABLE = "\n\r\t\0\x7f\x85\u2028[]"


def chain(names: list[str]) -> onnx.ModelProto:
    tensors = ["x", *(f"t{index}" for index in range(1, len(names))), "y"]
    return model(node("Relu", [tensors[at]], [tensors[at + 1]], name) for at, name in enumerate(names))


def names_of(made: onnx.ModelProto) -> list[str]:
    return [item.name for graph in graphs_of(made.graph) for item in graph.node]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab_1 /" + UNSPEAKABLE), max_size=4), min_size=1, max_size=8))
def test_any_names_become_unique_and_of_one_line(names):
    made = chain(names)
    tensors = [(list(item.input), list(item.output)) for item in made.graph.node]
    modified = name_nodes(made).modified
    found = names_of(made)
    assert len(set(found)) == len(found)
    assert all(name and not set(name) & set(UNSPEAKABLE) for name in found)
    assert [(list(item.input), list(item.output)) for item in made.graph.node] == tensors
    good = [name for name in names if name and not set(name) & set(UNSPEAKABLE)]
    assert all(found[names.index(name)] == name for name in good), "the first one of a good name keeps it"
    assert modified == (found != names)
    assert not name_nodes(made).modified


def test_the_names_that_are_given():
    made = chain(["", "same", "same", "two\nlines", "Relu_0", "[x]"])
    name_nodes(made)
    assert names_of(made) == ["Relu_0_1", "same", "same_1", "two_lines", "Relu_0", "_x_"]


def test_branches_share_the_names_of_the_model():
    branches = {f"{which}_branch": branch(which, [node("Relu", ["x"], [which], "relu")]) for which in ("then", "else")}
    made = model([node("If", ["x"], ["y"], "relu", **branches)])
    assert name_nodes(made).modified
    assert sorted(names_of(made)) == ["relu", "relu_1", "relu_2"]


def test_odd_but_unique_names_stay():
    names = ['{"json": 1}', "größe 数", "a:b/c", 'it\'s "quoted"\\', "x"]
    made = chain(names)
    assert not name_nodes(made).modified
    assert names_of(made) == names
