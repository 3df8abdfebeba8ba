"""LSTM, GRU and RNN rewritten: onnxruntime runs the node as it was, ONNX's reference the operator by its definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from onnx import TensorProto  # noqa: E402

from edgekit.judge import plain_session  # noqa: E402
from edgekit.plugins.operators import OPERATORS  # noqa: E402
from edgekit.reference import DIRECTIONS  # noqa: E402
from edgekit.rewrite.recurrent_node import RecurrentNode  # noqa: E402
from edgekit.rewrite.recurrent_to_plugin import recurrent_to_plugin  # noqa: E402
from edgekit.rewrite.shapes_at import shapes_at  # noqa: E402
from tests.onnxruntimes import needs_quantization_of_opset_23  # noqa: E402
from tests.plugins.op_runs import evaluator  # noqa: E402
from tests.plugins.test_recurrent_onnx import NODES, batch_first, random_node  # noqa: E402

Arrays = dict[str, np.ndarray]
WEIGHTS = ("W", "R", "B")
TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.bool_): TensorProto.BOOL,
}
node = onnx.helper.make_node
array = onnx.numpy_helper.from_array


def take(_: object) -> str:
    return ""


def model_of(nodes: list[Any], feeds: Arrays, outputs: list[str], stored: list[Any], opset: int = 21) -> Any:
    """`feeds` are the inputs, of open sizes; outputs are FP32 unless they are made from FP16."""
    info = onnx.helper.make_tensor_value_info
    half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in stored)
    inputs = [info(name, TYPES[value.dtype], [None] * value.ndim) for name, value in feeds.items()]
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    made = [info(name, kind, [None] * (3 if name.endswith(("_h", "_c")) else 4)) for name in outputs]
    graph = onnx.helper.make_graph(nodes, "g", inputs, made, stored)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)


def case(kind: str = "LSTM", direction: str = "bidirectional", seed: int = 0, **more: Any) -> tuple[Any, Arrays]:
    """A node and its arrays; no row is of length 0, for which onnxruntime and edgekit differ on purpose."""
    found, arrays = random_node(kind, direction, seed, **more)
    arrays["sequence_lens"] = np.maximum(arrays["sequence_lens"], 1)
    found.name = "cell"
    return found, arrays


def plain(found: Any, arrays: Arrays, constants: tuple[str, ...] = WEIGHTS) -> tuple[Any, Arrays]:
    """The node alone with its weights in initializers, and what is fed."""
    stored = [array(arrays[name], name) for name in constants if name in found.input]
    feeds = {name: value for name, value in arrays.items() if name in found.input and name not in constants}
    return model_of([found], feeds, [name for name in found.output if name], stored), feeds


def rewritten(model: Any, which: Callable[[RecurrentNode], str] = take, **more: Any) -> Any:
    """The model after the pass, which nothing is left in."""
    before = onnx.ModelProto.FromString(model.SerializeToString())
    made = recurrent_to_plugin(before, which, **more)
    assert made.modified
    onnx.checker.check_model(made.model, full_check=True)
    assert list(made.model.graph.output) == list(model.graph.output)
    ops = [item.op_type for graph in graphs(made.model.graph) for item in graph.node]
    assert not {"LSTM", "GRU", "RNN"} & set(ops)
    return made.model


def graphs(graph: Any) -> list[Any]:
    inner = [item.g for found in graph.node for item in found.attribute if item.type == onnx.AttributeProto.GRAPH]
    return [graph, *(deeper for found in inner for deeper in graphs(found))]


def same(model: Any, feeds: Arrays, wanted: list[np.ndarray] | None = None, rtol: float = 1e-5, **more: Any) -> Any:
    """Rewrite, and hold the outputs against onnxruntime's of the model as it was; the rewritten model."""
    made = rewritten(model, **more)
    wanted = plain_session(model.SerializeToString()).run(None, feeds) if wanted is None else wanted
    for found, want in zip(evaluator(made).run(None, feeds), wanted, strict=True):
        assert (found.shape, found.dtype) == (want.shape, want.dtype)
        np.testing.assert_allclose(found, want, rtol=0, atol=rtol * max(1.0, np.abs(want).max()))
    return made


def plugin(model: Any) -> Any:
    (found,) = [item for graph in graphs(model.graph) for item in graph.node if item.domain == "edgekit"]
    return found


def constants(model: Any) -> Arrays:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(list(NODES)),
    direction=st.sampled_from(DIRECTIONS),
    absent=st.sets(st.sampled_from(["B", "sequence_lens", "initial_h", "initial_c"])),
    outputs=st.lists(st.booleans(), min_size=3, max_size=3).filter(any),
    # onnxruntime does not clip an LSTM's c, as ONNX has it: test_recurrent_onnx.py keeps c below the clip.
    clip=st.sampled_from([None, 1.5]),
    constant_states=st.booleans(),
    seed=st.integers(0, 999),
)
def test_any_node_is_onnxruntimes(kind, direction, absent, outputs, clip, constant_states, seed):
    """Inputs and outputs that a node has or leaves out, open sizes, the states fed or stored."""
    clips = {} if clip is None or kind == "LSTM" else {"clip": clip}
    found, arrays = case(kind, direction, seed, **clips)
    for at, name in enumerate(found.input):
        found.input[at] = "" if name in absent else name
    for at, name in enumerate(found.output):
        found.output[at] = name if outputs[at] else ""
    if not any(found.output):
        return
    held = (*WEIGHTS, "initial_h", "initial_c") if constant_states else WEIGHTS
    made = same(*plain(found, arrays, held))
    assert plugin(made).name == "cell"
    assert [item.op_type for item in made.graph.node] == [
        "MatMul",
        *["Add"] * ("B" not in absent),
        "Reshape",
        plugin(made).op_type,
    ]
    made_outputs, wanted = list(plugin(made).output), list(found.output)
    assert len(made_outputs) == len(OPERATORS[plugin(made).op_type].outputs), "a plugin has them all"
    assert all(name and name == (want or name) for name, want in zip(made_outputs, wanted, strict=False))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", NODES)
def test_layout_1_is_the_batch_in_front(kind, direction):
    """onnxruntime has no layout 1: the oracle is layout 0, turned."""
    found, arrays = case(kind, direction, 1)
    model, feeds = plain(found, arrays)
    y, *states = plain_session(model.SerializeToString()).run(None, feeds)
    wanted = [y.transpose(2, 0, 1, 3), *(state.swapaxes(0, 1) for state in states)]
    found, _ = case(kind, direction, 1, layout=1)
    same(*plain(found, batch_first(arrays)), wanted)


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("kind", NODES)
def test_a_node_of_half_precision_is_cast_around(kind, layout):
    """Its weights go in as FP16; onnxruntime has no such node, and says what the same numbers are in FP32."""
    found, arrays = case(kind, seed=2, layout=layout)
    half = {name: value.astype(np.float16) if value.dtype == np.float32 else value for name, value in arrays.items()}
    single = {name: value.astype(np.float32) if value.dtype == np.float16 else value for name, value in half.items()}
    plain_node, _ = case(kind, seed=2)
    model, feeds = plain(plain_node, single)
    y, *states = plain_session(model.SerializeToString()).run(None, feeds)
    if layout:
        y, states, half = y.transpose(2, 0, 1, 3), [state.swapaxes(0, 1) for state in states], batch_first(half)
    made = same(*plain(found, half), [value.astype(np.float16) for value in (y, *states)], rtol=4e-3)
    types = {tensor.name: tensor.data_type for tensor in made.graph.initializer}
    (product,) = [item for item in made.graph.node if item.op_type == "MatMul"]
    assert types[product.input[1]] == types[plugin(made).input[1]] == TensorProto.FLOAT16


def stored_as(place: str, arrays: Arrays) -> tuple[list[Any], list[Any]]:
    """Nodes and initializers that make W, R and B."""
    weights = {name: arrays[name] for name in WEIGHTS}
    if place == "initializers":
        return [], [array(value, name) for name, value in weights.items()]
    if place == "Constant nodes":
        return [node("Constant", [], [name], value=array(value)) for name, value in weights.items()], []
    if place == "ConstantOfShape":
        return [
            node("ConstantOfShape", [f"{name}_shape"], [name], value=array(np.array([0.3], np.float32)))
            for name in weights
        ], [array(np.array(value.shape), f"{name}_shape") for name, value in weights.items()]
    parts = {name: np.split(value, 3, axis=1) for name, value in weights.items()}
    stored = [array(part, f"{name}_{at}") for name, found in parts.items() for at, part in enumerate(found)]
    nodes = [node("Concat", [f"{name}_{at}" for at in range(3)], [name], axis=1) for name in weights]
    return nodes, stored


PLACES = ("initializers", "Constant nodes", "ConstantOfShape", "computed")


@pytest.mark.parametrize("place", PLACES)
def test_weights_are_found_where_constants_can_be(place):
    found, arrays = case("GRU", hidden=6)
    nodes, stored = stored_as(place, arrays)
    feeds = {name: arrays[name] for name in found.input if name not in WEIGHTS}
    made = same(model_of([*nodes, found], feeds, list(found.output), stored), feeds)
    assert not {"Constant", "ConstantOfShape", "Concat"} & {item.op_type for item in made.graph.node}
    assert not any(name.startswith(WEIGHTS) for name in constants(made)), "what no one reads any more goes"


@pytest.mark.parametrize("place", [*PLACES, "outer graph"])
@pytest.mark.parametrize("says", [True, False])
def test_both_branches_of_an_if(place, says):
    """The branches have cells of their own, one of them on an x made inside; weights are in each, or around both."""
    feeds, branches, around = {"says": np.array(says)}, [], []
    for seed, name in enumerate(("then_branch", "else_branch")):
        found, arrays = case("LSTM", "bidirectional", 0 if place == "outer graph" else seed)
        del found.input[4:], found.output[1:]
        found.output[0] = f"{name}_y"
        feeds["X"] = case()[1]["X"]
        nodes, stored = stored_as("initializers" if place == "outer graph" else place, arrays)
        if place == "outer graph":
            around, stored = stored, []
        if seed:
            found.input[0] = "negative"
            nodes = [node("Neg", ["X"], ["negative"]), *nodes]
        y = onnx.helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        branches.append(onnx.helper.make_graph([*nodes, found], name, [], [y], stored))
    choice = node("If", ["says"], ["y"], "choice", then_branch=branches[0], else_branch=branches[1])
    model = model_of([choice, node("Relu", ["y"], ["out"])], feeds, ["out"], around)
    asked = []
    made = same(model, feeds, which=lambda item: asked.append(item.path + item.node.name) or "")
    assert asked == ["If.else_branch/cell", "If.then_branch/cell"]
    kinds = {item.op_type for graph in graphs(made.graph)[1:] for item in graph.node}
    assert kinds == {"Neg", "MatMul", "Add", "Reshape", "EdgekitLSTM"}
    recurrent = [value for value in constants(made).values() if value.shape == (2, 24, 6)]
    alike = place in ("ConstantOfShape", "outer graph")
    assert len(recurrent) == (1 if alike else 2), "equal weights are stored once"


def test_weights_of_a_graph_between():
    """An If whose branch holds the weights, and another If, whose branches hold the cells: none of them stays."""
    found, arrays = case("GRU", "forward")
    del found.input[4:], found.output[1:]
    info = onnx.helper.make_tensor_value_info
    flag, inner = np.array(True), []
    for name in ("then_branch", "else_branch"):
        cell = onnx.NodeProto.FromString(found.SerializeToString())
        cell.output[0] = f"{name}_y"
        inner.append(onnx.helper.make_graph([cell], name, [], [info(f"{name}_y", TensorProto.FLOAT, None)]))
    nodes, _ = stored_as("Constant nodes", arrays)
    deeper = node("If", ["says"], ["deep"], "deeper", then_branch=inner[0], else_branch=inner[1])
    middle = onnx.helper.make_graph([*nodes, deeper], "then_branch", [], [info("deep", TensorProto.FLOAT, None)])
    other = onnx.helper.make_graph(
        [node("Unsqueeze", ["X", "one"], ["wide"])], "else_branch", [], [info("wide", TensorProto.FLOAT, None)],
        [array(np.array([1]), "one")],
    )  # fmt: skip
    choice = node("If", ["says"], ["out"], "choice", then_branch=middle, else_branch=other)
    feeds = {"says": flag, "X": arrays["X"]}
    made = same(model_of([choice], feeds, ["out"], []), feeds)
    kinds = [item.op_type for graph in graphs(made.graph) for item in graph.node]
    assert kinds.count("EdgekitGRU") == 2
    assert "Constant" not in kinds
    assert "Unsqueeze" in kinds


def test_nodes_in_a_loop_are_left():
    found, arrays = case("LSTM", "forward")
    del found.input[4:], found.output[1:]
    info = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [node("Identity", ["go"], ["still"]), found],
        "body",
        [info("at", TensorProto.INT64, []), info("go", TensorProto.BOOL, [])],
        [info("still", TensorProto.BOOL, []), info("Y", TensorProto.FLOAT, None)],
    )
    loop = node("Loop", ["times", ""], ["ys"], body=body)
    stored = [array(arrays[name], name) for name in WEIGHTS] + [array(np.array(2), "times")]
    model = model_of([loop], {"X": arrays["X"]}, ["ys"], stored)
    before = model.SerializeToString()
    made = recurrent_to_plugin(model, take)
    assert (made.modified, made.model.SerializeToString()) == (False, before)
    assert made.notes == ("LSTM 'Loop.body/cell' stays as it is: it stands inside of Loop.body",)


@pytest.mark.parametrize(
    ("kind", "attributes", "reason"),
    [
        ("LSTM", {"input_forget": 1}, "its input and forget gates are coupled"),
        ("LSTM", {"activations": ["Sigmoid", "Tanh", "Relu"] * 2}, "its activations are Sigmoid, Tanh, Relu, "),
        ("RNN, tanh", {"activations": ["Relu", "Tanh"]}, "its activations are Relu, Tanh"),
        ("GRU", {"activation_alpha": [0.5]}, "its activations have parameters"),
    ],
)
def test_what_the_operators_do_not_compute_is_left(kind, attributes, reason):
    found, arrays = case(kind)
    found.attribute.extend(onnx.helper.make_attribute(*item) for item in attributes.items())
    made = recurrent_to_plugin(plain(found, arrays)[0], take)
    assert not made.modified
    assert made.notes[0].startswith(f"{found.op_type} 'cell' stays as it is: {reason}")


def test_peepholes_are_left():
    found, arrays = case("LSTM")
    found.input.append("P")
    made = recurrent_to_plugin(plain(found, {**arrays, "P": np.zeros((2, 18), np.float32)})[0], take)
    assert made.notes == ("LSTM 'cell' stays as it is: it has peepholes",)


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_fed_are_left(name):
    held = tuple(other for other in WEIGHTS if other != name)
    made = recurrent_to_plugin(plain(*case("GRU"), constants=held)[0], take)
    assert made.notes == (f"GRU 'cell' stays as it is: its {name} is not a constant",)


def test_double_precision_is_left():
    found, arrays = case("RNN, tanh")
    stored = [array(arrays[name].astype(np.float64), name) for name in WEIGHTS]
    made = recurrent_to_plugin(model_of([found], {}, [], stored), take)
    assert made.notes == ("RNN 'cell' stays as it is: its W is of type float64, which edgekit's operators do not have",)


def two_cells() -> tuple[Any, Arrays]:
    """An LSTM under a GRU: y [T,2,N,6] of the one becomes the other's x [T,N,12]."""
    first, arrays = case("LSTM", seed=5)
    second, others = case("GRU", "forward", seed=6)
    second.name, others["W"] = "upper", np.random.default_rng(7).normal(size=(1, 18, 12)).astype(np.float32)
    del first.output[1:], first.input[4:], second.input[4:]
    second.input[:] = ["x2", "W2", "R2", "B2"]
    second.output[:] = ["Y2", "Y2_h"]
    nodes = [
        first,
        node("Transpose", ["Y"], ["turned"], perm=[0, 2, 1, 3]),
        node("Reshape", ["turned", "to"], ["x2"]),
        second,
    ]
    stored = [array(arrays[name], name) for name in WEIGHTS] + [array(others[name], f"{name}2") for name in WEIGHTS]
    stored.append(array(np.array([0, 0, 12]), "to"))
    feeds = {"X": arrays["X"]}
    return model_of(nodes, feeds, ["Y2", "Y2_h"], stored), feeds


def test_which_decides_and_the_notes_say_so():
    model, feeds = two_cells()
    wanted = plain_session(model.SerializeToString()).run(None, feeds)
    asked: list[RecurrentNode] = []

    def only_lstm(item: RecurrentNode) -> str:
        asked.append(item)
        return "" if item.node.op_type == "LSTM" else "it does not fit a Jetson Orin Nano"

    known = shapes_at(model, {"X": (7, 5, 3)})
    made = recurrent_to_plugin(model, only_lstm, known=known)
    assert made.notes == (
        "1 of 2 recurrent nodes became edgekit's operators",
        "GRU 'upper' stays as it is: it does not fit a Jetson Orin Nano",
    )
    assert [(item.steps, item.batch, item.hidden, item.directions, item.int8) for item in asked] == [
        (7, 5, 6, 2, False),
        (7, 5, 6, 1, False),
    ]
    assert [item.op_type for item in made.model.graph.node][-1] == "GRU"
    for found, want in zip(evaluator(made.model).run(None, feeds), wanted, strict=True):
        np.testing.assert_allclose(found, want, atol=1e-5)


def test_both_are_taken_and_the_domain_is_imported_once():
    model, feeds = two_cells()
    made = same(model, feeds)
    assert [(entry.domain, entry.version) for entry in made.opset_import] == [("", 21), ("edgekit", 1)]
    again = recurrent_to_plugin(made, take)
    assert (again.modified, again.notes) == (False, ())
    model.opset_import.append(onnx.helper.make_opsetid("edgekit", 1))
    assert [entry.domain for entry in rewritten(model).opset_import] == ["", "edgekit"]


def test_a_file_of_old_in_which_weights_are_inputs_too():
    """Before version 4 of the format every initializer had to be; new ones are not."""
    model, feeds = plain(*case("LSTM"))
    model.graph.input.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in model.graph.initializer
    )
    model.ir_version = 3
    model.opset_import[0].version = 11
    made = rewritten(model)
    assert made.ir_version == 4
    assert [value.name for value in made.graph.input] == list(feeds)


def test_names_that_a_model_has_already_stay_its_own():
    found, arrays = case("GRU")
    model, feeds = plain(found, arrays)
    for name in ("cell_R", "cell_W", "cell_Reshape", "edgekit_no_numbers"):
        model.graph.initializer.append(array(np.zeros(3, np.float32), name))
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]))
    assert {"cell_R", "cell_R_1"} <= set(constants(same(model, feeds)))


def int8_rows(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = np.abs(weights).max(2, keepdims=True) / np.float32(127)
    return np.rint(weights / scale).astype(np.int8), scale


def dequantized(form: str, name: str, weights: np.ndarray) -> tuple[list[Any], list[Any]]:
    """`name` out of a DequantizeLinear of one of the forms that have a scale a row."""
    values, scale = int8_rows(weights)
    attributes: dict[str, int] = {"axis": 2, "block_size": values.shape[2]}
    if form == "per axis":
        scale, attributes = scale[0, :, 0], {"axis": 1}
    elif form == "one":
        scale, attributes = scale.max().reshape(()), {}
    elif form == "a direction":
        scale, attributes = scale.max((1, 2)), {"axis": 0}
    stored = [array(values, f"{name}_q"), array(scale, f"{name}_s"), array(np.zeros(scale.shape, np.int8), f"{name}_z")]
    return [node("DequantizeLinear", [f"{name}_{part}" for part in "qsz"], [name], **attributes)], stored


def quantized(form: str, kind: str, direction: str) -> tuple[Any, Arrays, np.ndarray]:
    """A model of INT8 W and R, what is fed, and R's bytes."""
    found, arrays = case(kind, direction)
    parts = [dequantized(form, name, arrays[name]) for name in ("W", "R")]
    nodes, stored = ([item for part in parts for item in part[side]] for side in (0, 1))
    feeds = {name: arrays[name] for name in found.input if name not in WEIGHTS}
    model = model_of([*nodes, found], feeds, list(found.output), [*stored, array(arrays["B"], "B")])
    return model, feeds, int8_rows(arrays["R"])[0]


@pytest.mark.parametrize(
    ("form", "direction"),
    [
        ("blocked", "bidirectional"),
        ("blocked", "reverse"),
        ("per axis", "forward"),
        ("one", "bidirectional"),
        ("a direction", "bidirectional"),
    ],
)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN, tanh"])
def test_int8_goes_in_as_it_is_stored(kind, form, direction):
    model, feeds, r = quantized(form, kind, direction)
    asked = []
    made = same(model, feeds, which=lambda item: asked.append((item.int8, item.dtype, item.hidden)) or "")
    assert asked == [(True, TensorProto.FLOAT, 6)]
    held, inputs = constants(made), plugin(made).input
    np.testing.assert_array_equal(held[inputs[1]], r)
    assert (held[inputs[2]].shape, held[inputs[2]].dtype) == (r.shape[:2], np.float32)
    (back,) = [item for item in made.graph.node if item.op_type == "DequantizeLinear"]
    (product,) = [item for item in made.graph.node if item.op_type == "MatMul"]
    assert product.input[1] == back.output[0]
    assert held[back.input[0]].dtype == np.int8


@pytest.mark.parametrize(
    ("kind", "sizes", "attributes"),
    [
        (np.int8, (1, 24, 2), {"axis": 2, "block_size": 3}),
        (np.int8, (6,), {"axis": 2}),  # a scale a column
        (np.uint8, (1, 24, 1), {"axis": 2, "block_size": 6}),
    ],
)
def test_other_forms_of_eight_bits_become_floats(kind, sizes, attributes):
    found, arrays = case("LSTM", "forward")
    values = np.abs(np.rint(arrays["R"] * 50)) if kind is np.uint8 else np.rint(arrays["R"] * 50)
    scale = np.random.default_rng(0).uniform(0.01, 0.03, sizes).astype(np.float32)
    back = node("DequantizeLinear", ["q", "s"], ["R"], **attributes)
    stored = [array(values.astype(kind), "q"), array(scale, "s"), array(arrays["W"], "W"), array(arrays["B"], "B")]
    feeds = {name: arrays[name] for name in found.input if name not in WEIGHTS}
    made = same(model_of([back, found], feeds, list(found.output), stored), feeds)
    assert constants(made)[plugin(made).input[1]].dtype == np.float32


def test_int8_in_a_node_of_half_precision():
    """Its scales are FP16, and the operator's FP32."""
    model, feeds, r = quantized("blocked", "GRU", "bidirectional")
    wanted = plain_session(model.SerializeToString()).run(None, feeds)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(array(onnx.numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        if value.name != "sequence_lens":
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    half = {name: value.astype(np.float16) if value.dtype == np.float32 else value for name, value in feeds.items()}
    made = same(model, half, [value.astype(np.float16) for value in wanted], rtol=1e-2)
    held, inputs = constants(made), plugin(made).input
    np.testing.assert_array_equal(held[inputs[1]], r)
    assert held[inputs[2]].dtype == np.float32


@needs_quantization_of_opset_23
def test_int8_that_says_the_type_it_comes_back_in():
    """FP16 scales that give FP32."""
    model, feeds, _ = quantized("blocked", "LSTM", "forward")
    model.opset_import[0].version = 23
    for tensor in model.graph.initializer:
        if tensor.name.endswith("_s"):
            tensor.CopyFrom(array(onnx.numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for back in model.graph.node[:2]:
        back.attribute.append(onnx.helper.make_attribute("output_dtype", TensorProto.FLOAT))
    assert [made.op_type for made in same(model, feeds).graph.node] == ["MatMul", "Add", "Reshape", "EdgekitLSTM"]


def test_int8_with_a_zero_point_becomes_floats():
    model, feeds, _ = quantized("blocked", "GRU", "forward")
    for tensor in model.graph.initializer:
        if tensor.name.endswith("_z"):
            tensor.CopyFrom(array(np.ones(tensor.dims, np.int8), tensor.name))
    made = same(model, feeds)
    assert constants(made)[plugin(made).input[1]].dtype == np.float32


def test_weights_of_half_precision_where_they_are_asked_for():
    """The oracle has the same numbers, rounded, in FP32."""
    found, arrays = case("GRU")
    model, feeds = plain(found, arrays)
    rounded = {**arrays, "R": arrays["R"].astype(np.float16).astype(np.float32)}
    wanted = plain_session(plain(found, rounded)[0].SerializeToString()).run(None, feeds)
    made = same(model, feeds, wanted, weights="fp16")
    held = constants(made)
    assert held[plugin(made).input[1]].dtype == np.float16
    (product,) = [item for item in made.graph.node if item.op_type == "MatMul"]
    assert held[product.input[1]].dtype == np.float32


@pytest.mark.parametrize("told", [True, False])
def test_a_product_is_of_half_precision_where_x_is_cast_up_from_there(told):
    """What `quantize --precision fp16` leaves around a cell; the types of inner values have to be known."""
    found, arrays = case("LSTM")
    found.input[0] = "x32"
    feeds = {name: arrays[name] for name in (*found.input[4:], "X") if name}
    feeds["X"] = feeds["X"].astype(np.float16)
    stored = [array(arrays[name], name) for name in WEIGHTS]
    model = model_of([node("Cast", ["X"], ["x32"], to=TensorProto.FLOAT), found], feeds, list(found.output), stored)
    rounded = {name: value.astype(np.float16).astype(np.float32) for name, value in arrays.items() if name in "WR"}
    exact = model_of(list(model.graph.node), feeds, list(found.output), [
        array({**arrays, **rounded}[name] if told or name == "R" else arrays[name], name) for name in WEIGHTS
    ])  # fmt: skip
    wanted = plain_session(exact.SerializeToString()).run(None, feeds)
    known = shapes_at(model, {"X": (7, 5, 3)}) if told else None
    made = same(model, feeds, wanted, rtol=3e-3 if told else 1e-5, weights="fp16", known=known)
    first = made.graph.node[0]
    assert (first.op_type, first.input[0]) == (("MatMul", "X") if told else ("Cast", "X"))


def test_weights_beyond_half_precision_stay_and_are_told():
    found, arrays = case("RNN, tanh", "forward")
    arrays["R"][0, 0, 0] = 1e5
    model, feeds = plain(found, arrays)
    made = recurrent_to_plugin(onnx.ModelProto.FromString(model.SerializeToString()), take, "fp16")
    assert made.notes[1:] == ("R of 'cell' stays in FP32: FP16 is too small for it",)
    same(model, feeds, weights="fp16")


def test_a_gru_keeps_the_candidates_bias_apart():
    for kind in ("GRU", "GRU, reset first"):
        found, arrays = case(kind, "forward")
        made = same(*plain(found, arrays))
        held = constants(made)
        np.testing.assert_array_equal(held[plugin(made).input[5]], arrays["B"][:, -6:])
        fields = {item.name: onnx.helper.get_attribute_value(item) for item in plugin(made).attribute}
        assert fields == {
            "hidden_size": 6, "direction": b"forward", "clip": 0.0, "linear_before_reset": int(kind == "GRU"),
            "plugin_version": b"1", "plugin_namespace": b"edgekit",
        }  # fmt: skip
