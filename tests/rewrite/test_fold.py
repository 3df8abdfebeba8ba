"""What follows from constants is computed once, exactly; everything else stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from onnx.reference import ReferenceEvaluator  # noqa: E402

from edgekit.rewrite.fold import fold  # noqa: E402

helper = onnx.helper
node = helper.make_node
X = np.array([1.5, -2.0], np.float32)


def value(name: str):
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2])


def model(nodes, weights: dict, outputs=("y",)) -> onnx.ModelProto:
    """One input, x [2]; the outputs are [2] too."""
    tensors = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [value("x")], [value(name) for name in outputs], tensors)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("example", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def run(proto: onnx.ModelProto) -> list:
    onnx.checker.check_model(proto)
    return ReferenceEvaluator(proto).run(None, {"x": X})


def ops(proto: onnx.ModelProto) -> list[str]:
    return [item.op_type for item in proto.graph.node]


def weights_of(proto: onnx.ModelProto) -> dict:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def test_a_grus_weights_as_torch_exports_them():
    """Gates r,z,n of each direction are cut, joined as z,r,n, and the directions stacked: [3H,I] -> [2,3H,I]."""
    random = np.random.default_rng(0)
    weights = {f"w{d}": random.normal(size=(6, 2)).astype(np.float32) for d in range(2)}
    weights |= {
        "0": np.array([0]),
        "2": np.array([2]),
        "4": np.array([4]),
        "6": np.array([6]),
        "axes": np.array([0, 1]),
    }
    nodes = []
    for d in range(2):
        for gate, (start, end) in {"r": "02", "z": "24", "n": "46"}.items():
            nodes.append(node("Slice", [f"w{d}", start, end, "0"], [f"{gate}{d}"]))
        nodes.append(node("Concat", [f"z{d}", f"r{d}", f"n{d}"], [f"joined{d}"], axis=0))
        nodes.append(node("Unsqueeze", [f"joined{d}", "0"], [f"one{d}"]))
    nodes += [
        node("Concat", ["one0", "one1"], ["W"], axis=0),
        node("Mul", ["x", "W"], ["times"]),
        node("ReduceSum", ["times", "axes"], ["y"], keepdims=0),
    ]
    proto = model(nodes, weights)
    wanted = run(proto)
    assert fold(proto, ["W"]).modified
    np.testing.assert_array_equal(run(proto), wanted)
    assert ops(proto) == ["Mul", "ReduceSum"]
    assert set(weights_of(proto)) == {"W", "axes"}
    expected = np.stack([weights[f"w{d}"].reshape(3, 2, 2)[[1, 0, 2]].reshape(6, 2) for d in range(2)])
    np.testing.assert_array_equal(weights_of(proto)["W"], expected)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_chain_folds_to_what_numpy_computes(data):
    """Each step reads any earlier result; one of them is wanted, and another is read beside it."""
    arrays = {"v0": np.arange(6, dtype=np.float32).reshape(2, 3)}
    nodes = []
    for index in range(1, data.draw(st.integers(2, 7))):
        source, name = data.draw(st.sampled_from(sorted(arrays))), f"v{index}"
        op = data.draw(st.sampled_from(["Transpose", "Concat", "Neg", "Slice", "Flatten"]))
        array = arrays[source]
        if op == "Transpose":
            nodes.append(node(op, [source], [name], perm=[1, 0]))
            arrays[name] = array.T
        elif op == "Concat":
            nodes.append(node(op, [source, source], [name], axis=1))
            arrays[name] = np.concatenate([array, array], axis=1)
        elif op == "Slice":
            nodes.append(node(op, [source, "zero", "two"], [name]))
            arrays[name] = array[0:2]
        elif op == "Flatten":
            nodes.append(node(op, [source], [name], axis=0))
            arrays[name] = array.reshape(1, -1)
        else:
            nodes.append(node(op, [source], [name]))
            arrays[name] = -array
    made = [name for name in arrays if name != "v0"]
    wanted = data.draw(st.lists(st.sampled_from(made), min_size=1, unique=True))
    read = data.draw(st.sampled_from(made))
    nodes += [node("ReduceSum", [name], [f"s_{name}"], keepdims=0) for name in {*wanted, read}]
    nodes.append(node("Sum", ["x", *(f"s_{name}" for name in sorted({*wanted, read}))], ["y"]))
    proto = model(nodes, {"v0": arrays["v0"], "zero": np.array([0]), "two": np.array([2])})
    before = run(proto)
    assert fold(proto, wanted).modified
    np.testing.assert_array_equal(run(proto), before)
    found = weights_of(proto)
    for name in wanted:
        np.testing.assert_array_equal(found[name], arrays[name])
    serialized = proto.SerializeToString()
    assert not fold(proto, wanted).modified
    assert proto.SerializeToString() == serialized


def branch(name: str, op: str, source: str) -> onnx.GraphProto:
    return helper.make_graph([node(op, [source], [name])], name, [], [value(name)])


def chance(name: str) -> onnx.GraphProto:
    return helper.make_graph([node("RandomNormal", [], [name], shape=[2])], name, [], [value(name)])


LEFT = {
    "it depends on an input": [node("Add", ["x", "w"], ["made"])],
    "an input stands further up": [
        node("Neg", ["x"], ["a"]),
        node("Concat", ["w", "a"], ["b"], axis=0),
        node("Neg", ["b"], ["made"]),
    ],
    "no evaluator has the operator": [node("Mystery", ["w"], ["made"], domain="example")],
    "it is random": [
        node("RandomNormal", [], ["noise"], shape=[2]),
        node("Add", ["w", "noise"], ["made"]),
    ],
    "it is a sequence": [node("SplitToSequence", ["w"], ["made"])],
    "a subgraph makes it": [
        node("If", ["yes"], ["made"], then_branch=branch("a", "Neg", "w"), else_branch=branch("b", "Exp", "x"))
    ],
    "it is random inside a subgraph": [node("If", ["yes"], ["made"], then_branch=chance("a"), else_branch=chance("b"))],
    "it fails": [node("Concat", ["w", "yes"], ["made"], axis=7)],
}


@pytest.mark.parametrize("nodes", LEFT.values(), ids=LEFT)
def test_left_alone(nodes):
    proto = model([*nodes, node("Identity", ["made"], ["y"])], {"w": X, "yes": np.array(True)})
    before = proto.SerializeToString()
    assert not fold(proto, ["made"]).modified
    assert proto.SerializeToString() == before


def test_names_that_no_node_of_the_graph_makes_are_left_alone():
    """An initializer, an input, a name inside a branch, an unknown name, and the empty name of what is left out."""
    choose = node("If", ["yes"], ["y"], then_branch=branch("inside", "Neg", "w"), else_branch=branch("b", "Exp", "x"))
    proto = model([choose], {"w": X, "yes": np.array(True)})
    before = proto.SerializeToString()
    assert not fold(proto, ["w", "x", "inside", "nowhere", ""]).modified
    assert proto.SerializeToString() == before


@pytest.mark.parametrize("wanted", [["a"], ["b"], ["a", "b"], ["b", "a", "sum"], ["sum", "a"]])
def test_some_outputs_of_one_node(wanted):
    nodes = [
        node("Split", ["w"], ["a", "b"], num_outputs=2),
        node("Add", ["a", "b"], ["sum"]),
        node("Sub", ["x", "a"], ["less"]),
        node("Mul", ["less", "b"], ["times"]),
        node("Add", ["times", "sum"], ["y"]),
    ]
    proto = model(nodes, {"w": np.array([3, 4, 5, 6], np.float32)})
    before = run(proto)
    assert fold(proto, wanted).modified
    np.testing.assert_array_equal(run(proto), before)
    found = weights_of(proto)
    expected = {"a": [3, 4], "b": [5, 6], "sum": [8, 10]}
    assert {name: found[name].tolist() for name in wanted} == {name: expected[name] for name in wanted}
    assert ("Split" in ops(proto)) == ("w" in found) == (not {"a", "b"} <= set(wanted))


def test_what_another_node_still_reads_stays():
    """`a` was not asked for and x needs it: it stays a node, and so does its own weight."""
    nodes = [
        node("Neg", ["w"], ["a"]),
        node("Exp", ["a"], ["b"]),
        node("Mul", ["x", "a"], ["c"]),
        node("Add", ["b", "c"], ["y"]),
    ]
    proto = model(nodes, {"w": X})
    before = run(proto)
    fold(proto, ["b"])
    np.testing.assert_array_equal(run(proto), before)
    assert ops(proto) == ["Neg", "Mul", "Add"]
    assert set(weights_of(proto)) == {"w", "b"}


def test_a_constant_node_and_what_only_a_branch_reads():
    constant = onnx.numpy_helper.from_array(X)
    nodes = [
        node("Constant", [], ["c"], value=constant),
        node("Mul", ["c", "c"], ["square"]),
        node("If", ["yes"], ["y"], then_branch=branch("a", "Neg", "square"), else_branch=branch("b", "Exp", "x")),
    ]
    proto = model(nodes, {"yes": np.array(True)})
    fold(proto, ["square"])
    np.testing.assert_array_equal(run(proto), [-X * X])
    assert ops(proto) == ["If"]


def test_a_folded_tensor_may_be_an_output_of_the_model():
    proto = model([node("Neg", ["w"], ["minus"]), node("Add", ["x", "minus"], ["y"])], {"w": X}, ("y", "minus"))
    fold(proto, ["minus"])
    assert [found.tolist() for found in run(proto)] == [[0, 0], (-X).tolist()]
    assert ops(proto) == ["Add"]


def test_initializers_that_an_old_file_lists_as_inputs_go_from_there_too():
    proto = model([node("Neg", ["w"], ["minus"]), node("Add", ["x", "minus"], ["y"])], {"w": X})
    proto.graph.input.append(value("w"))
    fold(proto, ["minus"])
    assert [item.name for item in proto.graph.input] == ["x"]
    np.testing.assert_array_equal(run(proto), [np.zeros(2)])
