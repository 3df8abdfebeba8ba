"""Graphs as exporters, optimizers and people leave them: what a parser trips over, each written by hand and tiny.

`BUILD` are those of which TensorRT-RTX makes an engine; `foreign_refused` has the others. N is the batch, left open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx

helper, T = onnx.helper, onnx.TensorProto
node = helper.make_node


@dataclass(frozen=True)
class Foreign:
    """`make` makes the graph; `shape` are the --shape options that it needs.

    `oracle` runs the file as it is: `ort`, or `reference`, ONNX's own, where onnxruntime refuses it, or none.
    """

    make: Callable[[], onnx.ModelProto]
    shape: tuple[str, ...] = ()
    oracle: str = "ort"


def value(name: str, shape: Any = ("N", 4), dtype: int = T.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def tensor(array: Any, name: str = "") -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.asarray(array), name)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def model(
    nodes: Iterable[onnx.NodeProto],
    weights: dict[str, Any] | None = None,
    inputs: Iterable[onnx.ValueInfoProto] = (),
    outputs: Iterable[onnx.ValueInfoProto] = (),
    opset: int = 20,
    ir_version: int = 10,
) -> onnx.ModelProto:
    """x [N,4] -> y [N,4] unless said otherwise, with the domains that the nodes have."""
    nodes = list(nodes)
    stored = [tensor(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "g", list(inputs) or [value("x")], list(outputs) or [value("y")], stored)
    domains = {"": opset, **{item.domain: 1 for item in nodes if item.domain}}
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def branch(name: str, nodes: Iterable[onnx.NodeProto], shape: Any = ("N", 4)) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), name, [], [value(name, shape)])


# What a picture is in the graphs below, and its convolution: [N,3,8,8] -> [N,4,8,8].
PICTURE, MAP = value("x", ("N", 3, 8, 8)), value("y", ("N", 4, 8, 8))


# What a picture is in the graphs below, and its convolution: [N,3,8,8] -> [N,4,8,8].
PICTURE, MAP = value("x", ("N", 3, 8, 8)), value("y", ("N", 4, 8, 8))
# Five steps of four numbers, and the states of four units.
STEPS, STATES = value("x", (5, "N", 4)), value("y", (5, 1, "N", 4))
_STEPS_SHAPE = ("x:5x1x4:5x2x4:5x4x4",)


def conv(kernel: str = "k", x: str = "x", y: str = "y", name: str = "conv") -> onnx.NodeProto:
    return node("Conv", [x, kernel], [y], name, pads=[1, 1, 1, 1])


def lstm_weights(hidden: int = 4, size: int = 4) -> dict[str, np.ndarray]:
    return {"W": normal(1, 4 * hidden, size), "R": normal(1, 4 * hidden, hidden), "B": normal(1, 8 * hidden)}


STEPS, STATES = value("x", (5, "N", 4)), value("y", (5, 1, "N", 4))


# --- weights in odd places --------------------------------------------------------------------------------------------


def weights_in_constant_nodes() -> onnx.ModelProto:
    return model([node("Constant", [], ["k"], "", value=tensor(normal(4, 3, 3, 3))), conv()], {}, [PICTURE], [MAP])


def constants_of_every_form() -> onnx.ModelProto:
    """value_float, value_floats, value_int and value_ints."""
    nodes = [
        node("Constant", [], ["two"], "a", value_float=2.0),
        node("Constant", [], ["row"], "b", value_floats=[1.0, 2.0, 3.0, 4.0]),
        node("Constant", [], ["sizes"], "c", value_ints=[-1, 4]),
        node("Constant", [], ["third"], "d", value_int=2),
        node("Mul", ["x", "two"], ["m"], "mul"),
        node("Add", ["m", "row"], ["s"], "add"),
        node("Gather", ["row", "third"], ["g"], "gather", axis=0),
        node("Sub", ["s", "g"], ["t"], "sub"),
        node("Reshape", ["t", "sizes"], ["y"], "reshape"),
    ]
    return model(nodes)


def a_sparse_constant() -> onnx.ModelProto:
    sparse = helper.make_sparse_tensor(tensor(np.float32([3, -1]), "v"), tensor(np.int64([1, 3]), "i"), [4])
    return model([node("Constant", [], ["w"], "w", sparse_value=sparse), node("Mul", ["x", "w"], ["y"], "mul")])


def a_sparse_initializer() -> onnx.ModelProto:
    made = model([node("MatMul", ["x", "w"], ["y"], "product")], {})
    found = helper.make_sparse_tensor(tensor(np.float32([3, -1, 2]), "w"), tensor(np.int64([1, 7, 14]), "i"), [4, 4])
    made.graph.sparse_initializer.append(found)
    return made


def computed_kernel() -> onnx.ModelProto:
    """ConstantOfShape, Mul and Add, as old exporters initialize."""
    nodes = [
        node("ConstantOfShape", ["shape"], ["ones"], "ones", value=tensor(np.float32([1]))),
        node("Mul", ["ones", "k0"], ["scaled"], "scaled"),
        node("Add", ["scaled", "half"], ["k"], "kernel"),
        conv(),
    ]
    return model(
        nodes, {"shape": np.int64([4, 3, 3, 3]), "k0": normal(4, 3, 3, 3), "half": np.float32(0.5)}, [PICTURE], [MAP]
    )


def computed_recurrent_weights() -> onnx.ModelProto:
    """W is scaled and R is turned inside the graph."""
    weights = lstm_weights()
    weights |= {"W0": weights.pop("W"), "R0": weights.pop("R").transpose(0, 2, 1), "half": np.float32(0.5)}
    nodes = [
        node("Mul", ["W0", "half"], ["W"], "scale"),
        node("Transpose", ["R0"], ["R"], "turn", perm=[0, 2, 1]),
        node("LSTM", ["x", "W", "R", "B"], ["y"], "lstm", hidden_size=4),
    ]
    return model(nodes, weights, [STEPS], [STATES])


def computed_gru_weights_with_lengths() -> onnx.ModelProto:
    """W is joined from three gates, as torch's exporter does it, and one sample is shorter."""
    gates = {f"w{gate}": normal(1, 4, 4) for gate in range(3)}
    weights = {**gates, "R": normal(1, 12, 4), "B": normal(1, 24)}
    nodes = [
        node("Concat", list(gates), ["W"], "join", axis=1),
        node("GRU", ["x", "W", "R", "B", "lengths"], ["y"], "gru", hidden_size=4, linear_before_reset=1),
    ]
    return model(nodes, weights, [STEPS, value("lengths", ("N",), T.INT32)], [STATES])


def a_recurrence_over_its_own_weights() -> onnx.ModelProto:
    """W follows from the input: no recurrence of TensorRT's takes that."""
    weights = lstm_weights()
    nodes = [
        node("ReduceMean", ["x"], ["mean"], "mean", keepdims=0),
        node("Mul", ["W", "mean"], ["scaled"], "scale"),
        node("LSTM", ["x", "scaled", "R", "B"], ["y"], "lstm", hidden_size=4),
    ]
    return model(nodes, weights, [STEPS], [STATES])


def initializers_as_inputs() -> onnx.ModelProto:
    inputs = [PICTURE, value("k", (4, 3, 3, 3))]
    return model([conv()], {"k": normal(4, 3, 3, 3)}, inputs, [MAP], opset=8, ir_version=3)


def shared_kernel() -> onnx.ModelProto:
    return model([conv(y="a", name="one"), conv(y="b", name="two"), node("Add", ["a", "b"], ["y"], "add")],
                 {"k": normal(4, 3, 3, 3)}, [PICTURE], [MAP])  # fmt: skip


# --- control flow and functions ---------------------------------------------------------------------------------------


def recurrence_in_both_branches() -> onnx.ModelProto:
    """The condition follows from the data; both branches capture x and the weights."""
    branches = {
        f"{which}_branch": branch(
            which,
            [node("LSTM", ["x", "W", "R", "B"], [which], f"lstm_{which}", hidden_size=4, direction=direction)],
            (5, 1, "N", 4),
        )
        for which, direction in (("then", "forward"), ("else", "reverse"))
    }
    nodes = [
        node("ReduceSum", ["x"], ["sum"], "sum", keepdims=0),
        node("Greater", ["sum", "zero"], ["c"], "positive"),
        node("If", ["c"], ["y"], "choose", **branches),
    ]
    return model(nodes, lstm_weights() | {"zero": np.float32(0)}, [STEPS], [STATES])


def a_constant_condition() -> onnx.ModelProto:
    """torch leaves such an If; the branch that is never taken has an operator that no one has."""
    never = branch("never", [node("Unheard", ["x"], ["never"], "unheard", domain="nobody")])
    choose = node(
        "If", ["c"], ["y"], "choose", then_branch=branch("a", [node("Relu", ["x"], ["a"], "relu")]), else_branch=never
    )
    made = model([choose], {"c": np.array(True)})
    made.opset_import.append(helper.make_opsetid("nobody", 1))
    return made


def a_loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [node("Add", ["state", "x"], ["next"], "step"), node("Identity", ["go"], ["go_on"], "again")],
        "body",
        [value("i", (), T.INT64), value("go", (), T.BOOL), value("state")],
        [value("go_on", (), T.BOOL), value("next")],
    )
    return model(
        [node("Loop", ["three", "yes", "x"], ["y"], "loop", body=body)], {"three": np.int64(3), "yes": np.array(True)}
    )


def a_scan() -> onnx.ModelProto:
    body = helper.make_graph(
        [node("Add", ["state", "row"], ["next"], "sum"), node("Identity", ["next"], ["seen"], "copy")],
        "body", [value("state", (4,)), value("row", (4,))], [value("next", (4,)), value("seen", (4,))],
    )  # fmt: skip
    return model(
        [node("Scan", ["start", "x"], ["last", "y"], "scan", body=body, num_scan_inputs=1)], {"start": normal(4)}
    )


def a_function(opset: int = 20, recursive: bool = False) -> onnx.ModelProto:
    """House.Twice(x) = House.Once(x) + House.Once(x), with an attribute that is handed on."""
    once = helper.make_function(
        "house", "Once", ["a"], ["b"], [_with_reference()], [helper.make_opsetid("", opset)], ["alpha"]
    )
    inner = node("Twice" if recursive else "Once", ["a"], ["o"], "inner", domain="house")
    inner.attribute.append(_reference("alpha"))
    twice = helper.make_function(
        "house", "Twice", ["a"], ["b"], [inner, node("Add", ["o", "o"], ["b"], "sum")],
        [helper.make_opsetid("", opset), helper.make_opsetid("house", 1)], ["alpha"],
    )  # fmt: skip
    made = model(
        [node("Twice", ["x"], ["m"], "call", domain="house", alpha=0.3), node("Neg", ["m"], ["y"], "negative")]
    )
    made.functions.extend([once, twice])
    return made


def _reference(name: str) -> onnx.AttributeProto:
    return onnx.AttributeProto(name=name, ref_attr_name=name, type=onnx.AttributeProto.FLOAT)


def _with_reference() -> onnx.NodeProto:
    made = node("LeakyRelu", ["a"], ["b"], "leaky")
    made.attribute.append(_reference("alpha"))
    return made


# --- names ------------------------------------------------------------------------------------------------------------


ODD = ("a:b/c d", '{"json": [1, 2]}', "größe 数", 'it\'s "quoted"\\', "line\nbreak", "", "tab\there", "[ONNX Layer: x]")


def odd_names() -> onnx.ModelProto:
    """A chain whose nodes and tensors have the names in ODD; the empty one is that of a node alone."""
    names, nodes = ["x"], []
    for index, name in enumerate(ODD):
        names.append(f"{name}{index}" if name else "tensor")
        nodes.append(node(("Relu", "Neg", "Abs", "Tanh")[index % 4], [names[-2]], [names[-1]], name))
    nodes.append(node("Sigmoid", [names[-1]], ["y"], ODD[0]))
    return model(nodes)


def odd_input_names() -> onnx.ModelProto:
    """serving_default_x:0, as TensorFlow has it, and an output with a slash."""
    return model([node("Relu", ["serving_default_x:0"], ["out/y:0"], "relu")], {}, [value("serving_default_x:0")],
                 [value("out/y:0")])  # fmt: skip


def nodes_without_names() -> onnx.ModelProto:
    return model([node("Relu", ["x"], ["a"]), node("Neg", ["a"], ["b"]), node("Abs", ["b"], ["y"], "Neg_1")])


def nodes_of_one_name() -> onnx.ModelProto:
    return model(
        [node(op, [x], [y], "same") for op, x, y in (("Relu", "x", "a"), ("Neg", "a", "b"), ("Tanh", "b", "y"))]
    )


# --- old forms, other layouts -----------------------------------------------------------------------------------------


def old_forms(opset: int) -> onnx.ModelProto:
    """Forms that opset 13 or earlier took away: axes, bounds and ratios as attributes. [N,4] -> [N,4]."""
    nodes = [
        node("Clip", ["x"], ["a"], "clip", min=-1.0, max=1.0),
        node("Unsqueeze", ["a"], ["b"], "unsqueeze", axes=[2]),
        node("Squeeze", ["b"], ["c"], "squeeze", axes=[2]),
        node("Slice", ["c"], ["d"], "slice", starts=[0], ends=[9], axes=[1]),
        node("Dropout", ["d"], ["e"], "dropout", ratio=0.5),
        node("Softmax", ["e"], ["y"], "softmax"),
    ]
    weights = {"low": np.float32(-1), "high": np.float32(1), "axes": np.int64([2])}
    weights |= {"starts": np.int64([0]), "ends": np.int64([9]), "first": np.int64([1]), "ratio": np.float32(0.5)}
    if opset >= 10:
        nodes[3] = node("Slice", ["c", "starts", "ends", "first"], ["d"], "slice")
    if opset >= 11:
        nodes[0] = node("Clip", ["x", "low", "high"], ["a"], "clip")
    if opset >= 12:
        nodes[4] = node("Dropout", ["d", "ratio"], ["e"], "dropout")
    if opset >= 13:
        nodes[1], nodes[2] = (
            node(op, [x, "axes"], [y], op.lower()) for op, x, y in (("Unsqueeze", "a", "b"), ("Squeeze", "b", "c"))
        )
    read = {name for item in nodes for name in item.input}
    return model(
        nodes,
        {name: array for name, array in weights.items() if name in read},
        opset=opset,
        ir_version=8 if opset < 21 else 10,
    )


def upsample(opset: int) -> onnx.ModelProto:
    """Upsample-9, Resize-10 and Resize-13 with sizes; [N,3,8,8] -> [N,3,16,16]."""
    large = value("y", ("N", 3, 16, 16))
    scales = {"scales": np.float32([1, 1, 2, 2])}
    if opset < 10:
        resize = node("Upsample", ["x", "scales"], ["y"], "up", mode="nearest")
    elif opset < 11:
        resize = node("Resize", ["x", "scales"], ["y"], "up", mode="nearest")
    else:
        resize = node(
            "Resize", ["x", "", "scales"], ["y"], "up", mode="linear", coordinate_transformation_mode="half_pixel"
        )
    return model([resize], scales, [PICTURE], [large], opset=opset, ir_version=8)


def upsample_7() -> onnx.ModelProto:
    """The scales were an attribute."""
    return model([node("Upsample", ["x"], ["y"], "up", mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])], {}, [PICTURE],
                 [value("y", ("N", 3, 16, 16))], opset=7, ir_version=3)  # fmt: skip


def batch_normalization(training: bool, opset: int = 15) -> onnx.ModelProto:
    weights = {name: np.abs(normal(3)) + 1 for name in ("scale", "bias", "mean", "var")}
    attributes = {"training_mode": 1} if training else {}
    outputs = ["y", "running_mean", "running_var"] if training else ["y"]
    return model([node("BatchNormalization", ["x", *weights], outputs, "norm", **attributes)], weights, [PICTURE],
                 [value("y", ("N", 3, 8, 8))], opset=opset)  # fmt: skip


def nhwc() -> onnx.ModelProto:
    """[N,8,8,3] in and out, as TensorFlow's converter writes it."""
    nodes = [
        node("Transpose", ["x"], ["t"], "to_nchw", perm=[0, 3, 1, 2]),
        conv(x="t", y="c"),
        node("Relu", ["c"], ["r"], "relu"),
        node("Transpose", ["r"], ["y"], "to_nhwc", perm=[0, 2, 3, 1]),
    ]
    return model(nodes, {"k": normal(4, 3, 3, 3)}, [value("x", ("N", 8, 8, 3))], [value("y", ("N", 8, 8, 4))])


# --- types and shapes -------------------------------------------------------------------------------------------------


def typed_input(dtype: int) -> onnx.ModelProto:
    """An input of another type, cast to float at once."""
    return model(
        [node("Cast", ["x"], ["f"], "cast", to=T.FLOAT), node("Relu", ["f"], ["y"], "relu")],
        {},
        [value("x", dtype=dtype)],
    )


def double_inside() -> onnx.ModelProto:
    """float -> double -> product -> float, which numpy's defaults do to a careless export."""
    nodes = [
        node("Cast", ["x"], ["d"], "to_double", to=T.DOUBLE),
        node("MatMul", ["d", "w"], ["p"], "product"),
        node("Cast", ["p"], ["y"], "to_float", to=T.FLOAT),
    ]
    return model(nodes, {"w": normal(4, 4).astype(np.float64)})


def int64_arithmetic() -> onnx.ModelProto:
    return model(
        [node("Add", ["x", "w"], ["y"], "add")],
        {"w": np.int64([1, 2, 3, 1 << 40])},
        [value("x", dtype=T.INT64)],
        [value("y", dtype=T.INT64)],
    )


def uint8_weights() -> onnx.ModelProto:
    return model(
        [node("Cast", ["w"], ["f"], "cast", to=T.FLOAT), node("Mul", ["x", "f"], ["y"], "mul")],
        {"w": np.uint8([1, 2, 3, 255])},
    )


def output_is_initializer() -> onnx.ModelProto:
    return model(
        [node("Relu", ["x"], ["y"], "relu")], {"table": normal(4)}, [value("x")], [value("y"), value("table", (4,))]
    )


def unused_input() -> onnx.ModelProto:
    return model([node("Relu", ["x"], ["y"], "relu")], {}, [value("x"), value("never", ("N", 7))])


def scalar_input() -> onnx.ModelProto:
    return model([node("Mul", ["x", "s"], ["y"], "mul")], {}, [value("x"), value("s", ())])


def an_empty_axis() -> onnx.ModelProto:
    """x is joined with a weight that has no rows."""
    return model(
        [node("Concat", ["x", "none"], ["y"], "concat", axis=0)],
        {"none": np.zeros((0, 4), np.float32)},
        [value("x", (2, 4))],
        [value("y", (2, 4))],
    )


def a_random_node() -> onnx.ModelProto:
    return model([node("RandomNormalLike", ["x"], ["r"], "noise"), node("Add", ["x", "r"], ["y"], "add")])


_TYPES = (T.UINT8, T.INT8, T.INT32, T.INT64, T.BOOL, T.FLOAT16)
BUILD = {
    **{make.__name__: Foreign(make) for make in (
        weights_in_constant_nodes, constants_of_every_form, a_sparse_constant, a_sparse_initializer, computed_kernel,
        initializers_as_inputs, shared_kernel, a_loop, a_scan, a_function, odd_input_names,
        nodes_without_names, upsample_7, nhwc, double_inside, int64_arithmetic, uint8_weights,
        output_is_initializer, unused_input, scalar_input, an_empty_axis)},
    **{make.__name__: Foreign(make, _STEPS_SHAPE) for make in (
        computed_recurrent_weights, a_recurrence_over_its_own_weights,
        recurrence_in_both_branches)},
    "computed_gru_weights_with_lengths": Foreign(computed_gru_weights_with_lengths, (*_STEPS_SHAPE, "lengths:1:2:4")),
    "a_function_of_another_opset": Foreign(partial(a_function, 18)),
    # onnxruntime refuses two nodes of one name.
    **{make.__name__: Foreign(make, oracle="reference") for make in (odd_names, nodes_of_one_name)},
    # onnxruntime refuses the operator in the branch that is never taken, and draws other numbers every time.
    "a_constant_condition": Foreign(a_constant_condition, oracle=""),
    "a_random_node": Foreign(a_random_node, oracle=""),
    **{f"opset_{opset}": Foreign(partial(old_forms, opset)) for opset in (7, 9, 11, 13, 24)},
    **{f"resize_{opset}": Foreign(partial(upsample, opset)) for opset in (9, 10, 13)},
    "batch_normalization": Foreign(partial(batch_normalization, False)),
    **{f"input_{T.DataType.Name(dtype).lower()}": Foreign(partial(typed_input, dtype)) for dtype in _TYPES},
}  # fmt: skip
