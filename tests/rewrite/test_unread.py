"""What no one reads goes, and nothing else: the outputs stay the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from onnx.reference import ReferenceEvaluator  # noqa: E402

from edgekit.rewrite.unread import drop_unread  # noqa: E402

helper = onnx.helper
node = helper.make_node
X = np.array([1.5, -2.0], np.float32)
BOOL, INT64 = onnx.TensorProto.BOOL, onnx.TensorProto.INT64


def value(name: str, shape: tuple = (2,), dtype: int = onnx.TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model(nodes, weights: dict, outputs=("y",)) -> onnx.ModelProto:
    """One input, x [2]; the outputs are [2] too."""
    tensors = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [value("x")], [value(name) for name in outputs], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def names(proto: onnx.ModelProto) -> tuple[list, set]:
    """The first output of each node, and the initializers."""
    return [item.output[0] for item in proto.graph.node], {tensor.name for tensor in proto.graph.initializer}


def run(proto: onnx.ModelProto) -> list:
    onnx.checker.check_model(proto)
    return ReferenceEvaluator(proto).run(None, {"x": X})


@settings(max_examples=80, deadline=None)
@given(data=st.data(), size=st.integers(1, 9))
def test_any_graph_keeps_exactly_what_its_outputs_need(data, size):
    weights = {f"w{index}": X * index for index in range(3)}
    known, needs, nodes = ["x", *weights], {}, []
    for index in range(size):
        inputs = [data.draw(st.sampled_from(known)) for _ in range(2)]
        nodes.append(node("Add", inputs, [f"v{index}"]))
        needs[f"v{index}"] = set(inputs).union(*(needs.get(name, ()) for name in inputs))
        known.append(f"v{index}")
    outputs = data.draw(st.lists(st.sampled_from(sorted(needs)), min_size=1, unique=True))
    proto = model(nodes, weights, outputs)
    before, serialized = run(proto), proto.SerializeToString()
    result = drop_unread(proto)
    needed = set(outputs).union(*(needs[name] for name in outputs))
    assert names(proto) == ([f"v{i}" for i in range(size) if f"v{i}" in needed], needed & set(weights))
    np.testing.assert_array_equal(run(proto), before)
    assert result.model is proto
    assert result.modified == (proto.SerializeToString() != serialized) == (not {*needs, *weights} <= needed)
    assert not drop_unread(proto).modified


def test_a_dead_chain_goes_with_its_weights():
    dead = [node("Mul", ["x", "w"], ["a"]), node("Exp", ["a"], ["b"]), node("Split", ["b"], ["c", "d"], num_outputs=2)]
    proto = model([*dead, node("Add", ["x", "v"], ["y"])], {"w": X, "v": X})
    assert drop_unread(proto).modified
    assert names(proto) == (["y"], {"v"})


def test_one_output_that_is_read_keeps_a_node():
    proto = model([node("Split", ["x"], ["a", "b"], num_outputs=2), node("Exp", ["b"], ["y"])], {})
    assert not drop_unread(proto).modified


def test_an_output_left_out_is_not_what_an_input_left_out_reads():
    """Both have the empty name: the GRU makes no Y and nobody reads its Y_h, the Clip has no minimum."""
    weights = {"w": np.ones((1, 3, 2), np.float32), "r": np.ones((1, 3, 1), np.float32), "most": np.float32(1)}
    weights["axes"] = np.array([0, 1])
    nodes = [
        node("Unsqueeze", ["x", "axes"], ["steps"]),
        node("GRU", ["steps", "w", "r"], ["", "dead"], hidden_size=1),
        node("Clip", ["x", "", "most"], ["y"]),
    ]
    proto = model(nodes, weights)
    drop_unread(proto)
    assert names(proto) == (["y"], {"most"})
    np.testing.assert_array_equal(run(proto), [[1, -2]])


def test_a_dead_initializer_goes_from_the_inputs_too_and_a_true_input_never():
    proto = model([node("Exp", ["v"], ["y"])], {"w": X, "v": X})
    proto.graph.input.extend([value("w"), value("v")])
    assert drop_unread(proto).modified
    assert [item.name for item in proto.graph.input] == ["x", "v"]
    assert names(proto)[1] == {"v"}


def branch(nodes, output: str) -> onnx.GraphProto:
    return helper.make_graph(nodes, output, [], [value(output)])


def test_what_only_a_branch_reads_is_read():
    """Also what the branch that is not taken reads; what no branch reads goes."""
    nodes = [
        node("Exp", ["x"], ["made"]),
        node("Mul", ["x", "w"], ["product"]),
        node("Mul", ["x", "dead_weight"], ["dead"]),
        node("If", ["no"], ["y"], then_branch=branch([node("Add", ["made", "v"], ["a"])], "a"),
             else_branch=branch([node("Identity", ["product"], ["b"])], "b")),
    ]  # fmt: skip
    proto = model(nodes, {"w": X, "v": X, "no": np.array(False), "dead_weight": X})
    assert drop_unread(proto).modified
    assert names(proto) == (["made", "product", "y"], {"w", "v", "no"})
    np.testing.assert_array_equal(run(proto), [X * X])


def test_what_only_a_loop_reads_is_read_however_deep():
    inner = branch([node("Add", ["state", "made"], ["a"])], "a")
    body = helper.make_graph(
        [
            node("If", ["go"], ["next"], then_branch=inner, else_branch=branch([node("Neg", ["w"], ["b"])], "b")),
            node("Identity", ["go"], ["go_on"]),
        ],
        "body",
        [value("step", (), INT64), value("go", (), BOOL), value("state")],
        [value("go_on", (), BOOL), value("next")],
    )
    nodes = [node("Exp", ["x"], ["made"]), node("Loop", ["three", "yes", "x"], ["y"], body=body)]
    weights = {"three": np.array(3), "w": X, "yes": np.array(True)}
    proto = model(nodes, weights)
    before = run(proto)
    assert not drop_unread(proto).modified
    np.testing.assert_array_equal(run(proto), before)
    np.testing.assert_allclose(before[0], X + 3 * np.exp(X), rtol=1e-6)


def test_an_initializer_that_is_an_output_stays():
    proto = model([node("Exp", ["x"], ["y"]), node("Neg", ["x"], ["dead"])], {"table": X}, ("y", "table"))
    assert drop_unread(proto).modified
    assert names(proto) == (["y"], {"table"})
    np.testing.assert_array_equal(run(proto)[1], X)


def test_nothing_to_do(small_onnx):
    proto = onnx.load(small_onnx)
    before = proto.SerializeToString()
    result = drop_unread(proto)
    assert (result.model, result.modified) == (proto, False)
    assert proto.SerializeToString() == before


def test_what_is_said_of_a_tensor_that_no_node_makes_goes_too():
    """onnxruntime's FP16 converter would cast it: a folded weight of a GRU came out of INT8 as FP32 again."""
    helper = onnx.helper
    x, y, w = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xyw")
    sums = helper.make_node("Add", ["x", "w"], ["s"], "sum"), helper.make_node("Relu", ["s"], ["y"], "relu")
    weight = onnx.numpy_helper.from_array(np.ones(2, np.float32), "w")
    said = helper.make_tensor_value_info("s", onnx.TensorProto.FLOAT, [2])
    graph = helper.make_graph(sums, "g", [x], [y], [weight], value_info=[w, said])
    made = drop_unread(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)).model
    assert [value.name for value in made.graph.value_info] == ["s"]
