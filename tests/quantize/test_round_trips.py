"""FP32 that only moves on its way to FP32 is not rounded: onnxruntime's FP32 result is met to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.judge import plain_session  # noqa: E402
from edgekit.quantize.bf16 import to_bf16  # noqa: E402
from edgekit.quantize.precision import to_fp16  # noqa: E402
from edgekit.rewrite.emulated import emulated  # noqa: E402

helper = onnx.helper
node = helper.make_node
FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
NARROW = {"fp16": to_fp16, "bf16": to_bf16}
RANDOM = np.random.default_rng(0)
# None of these is a number of FP16.
X = RANDOM.normal(size=(3, 5, 4)).astype(np.float32) + np.float32(1e-5)
WEIGHTS = {
    "W": RANDOM.normal(size=(1, 16, 4)).astype(np.float32),
    "R": RANDOM.normal(size=(1, 16, 4)).astype(np.float32),
    "M": RANDOM.normal(size=(4, 4)).astype(np.float32),
}
INDICES = {"one": np.array([1]), "rows": np.array([0, 0, 4]), "halves": np.array([1, 2]), "zero": np.array([0])}
INDICES |= {"two": np.array([2]), "three": np.array([3]), "four": np.array([4])}
INDICES |= {"kept": np.array([0, 1, 3]), "go": np.array(True)}


def proto(nodes: list, outputs: dict[str, int]) -> onnx.ModelProto:
    """x float32 [batch,time,4] -> outputs of any sizes, with the number of their axes."""
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["batch", "time", 4])]
    made = [
        helper.make_tensor_value_info(name, FLOAT, [f"{name}{axis}" for axis in range(rank)])
        for name, rank in outputs.items()
    ]
    read = {name for item in nodes for name in item.input}
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in (WEIGHTS | INDICES).items() if name in read]
    graph = helper.make_graph(nodes, "g", inputs, made, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def lstm(x: str, outputs: list[str], name: str = "lstm") -> onnx.NodeProto:
    return node("LSTM", [x, "W", "R"], outputs, name, hidden_size=4)


def run(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    names = [value.name for value in model.graph.output]
    return dict(zip(names, plain_session(emulated(model).SerializeToString()).run(None, {"x": X}), strict=True))


def types(model: onnx.ModelProto) -> list[str]:
    return [item.op_type for item in model.graph.node]


# Each is given x, [batch,time,4], and makes t, [time,batch,4] or longer.
MOVES = {
    "Transpose": [node("Transpose", ["x"], ["t"], "a", perm=[1, 0, 2])],
    "Identity": [node("Identity", ["x"], ["t"], "a")],
    "Reshape": [node("Reshape", ["x", "rows"], ["t"], "a")],
    "Squeeze": [node("Unsqueeze", ["x", "two"], ["u"], "a"), node("Squeeze", ["u", "two"], ["t"], "b")],
    "Expand": [node("Expand", ["x", "one"], ["t"], "a")],
    "Slice": [node("Slice", ["x", "one", "three", "one"], ["t"], "a")],
    "Gather": [node("Gather", ["x", "halves"], ["t"], "a", axis=0)],
    "Flatten": [node("Flatten", ["x"], ["f"], "a"), node("Unsqueeze", ["f", "zero"], ["u"], "b"),
                node("Slice", ["u", "zero", "four", "two"], ["t"], "c")],
    "Split": [node("Split", ["x", "halves"], ["first", "t"], "a", axis=0)],
    "Concat": [node("Transpose", ["x"], ["u"], "a", perm=[0, 1, 2]), node("Concat", ["u", "x"], ["t"], "b", axis=0)],
}  # fmt: skip


@pytest.mark.parametrize("narrow", NARROW)
@pytest.mark.parametrize("move", MOVES)
def test_a_recurrence_behind_moves_reads_fp32(move, narrow):
    """And what it makes goes out through moves as it is."""
    nodes = [*MOVES[move], lstm("t", ["s"]), node("Squeeze", ["s", "one"], ["y"], "last")]
    wanted = run(proto(nodes, {"y": 3}))
    found = NARROW[narrow](proto(nodes, {"y": 3})).model
    np.testing.assert_array_equal(run(found)["y"], wanted["y"])
    assert HALF not in {item.i for made in found.graph.node for item in made.attribute if item.name == "to"}


@pytest.mark.parametrize("narrow", NARROW)
def test_one_recurrence_reads_another_through_moves(narrow):
    nodes = [
        lstm("x", ["s"], "first"),
        node("Transpose", ["s"], ["p"], "p", perm=[0, 2, 1, 3]),
        node("Shape", ["p"], ["sizes"], "shape"),
        node("Gather", ["sizes", "kept"], ["wanted"], "wanted"),
        node("Reshape", ["p", "wanted"], ["t"], "t"),
        lstm("t", ["", "", "y"], "second"),
    ]
    wanted = run(proto(nodes, {"y": 3}))
    found = NARROW[narrow](proto(nodes, {"y": 3})).model
    np.testing.assert_array_equal(run(found)["y"], wanted["y"])
    assert {item.attribute[0].i for item in found.graph.node if item.op_type == "Cast"} <= {FLOAT}


def test_fp16_nodes_keep_their_own_move():
    """The Transpose is there twice: a product reads it in FP16, as before."""
    nodes = [
        node("Transpose", ["x"], ["t"], "t", perm=[1, 0, 2]),
        lstm("t", ["", "y"]),
        node("MatMul", ["t", "M"], ["z"], "product"),
    ]
    wanted = run(proto(nodes, {"y": 3, "z": 3}))
    model = to_fp16(proto(nodes, {"y": 3, "z": 3})).model
    found = run(model)
    assert types(model).count("Transpose") == 2
    np.testing.assert_array_equal(found["y"], wanted["y"])
    rounded = (X.transpose(1, 0, 2).astype(np.float16).astype(np.float32)) @ WEIGHTS["M"].astype(np.float16).astype("f")
    np.testing.assert_array_equal(found["z"], rounded.astype(np.float16).astype(np.float32))
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    kinds = {value.name: value.type.tensor_type.elem_type for value in known}
    made = {item.name: kinds.get(item.output[0]) for item in model.graph.node if item.op_type == "Transpose"}
    assert sorted(made.values()) == [FLOAT, HALF]


def test_what_was_computed_in_fp16_is_not_taken_for_fp32():
    """A Concat has all or nothing."""
    nodes = [
        node("Mul", ["x", "x"], ["m"], "m"),
        node("Concat", ["x", "m"], ["t"], "t", axis=0),
        lstm("t", ["", "y"]),
    ]
    rounded = X.astype(np.float16)
    parts = np.concatenate([rounded, rounded * rounded]).astype(np.float32)
    plain = proto([lstm("x", ["", "y"])], {"y": 3})
    wanted = plain_session(plain.SerializeToString()).run(None, {"x": parts})[0]
    np.testing.assert_array_equal(run(to_fp16(proto(nodes, {"y": 3})).model)["y"], wanted)


def test_a_cast_of_the_models_own_still_rounds():
    nodes = [
        node("Cast", ["x"], ["h"], "theirs", to=HALF),
        node("Transpose", ["h"], ["t"], "t", perm=[0, 1, 2]),
        node("Cast", ["t"], ["w"], "back", to=FLOAT),
        lstm("w", ["", "y"]),
    ]
    plain = proto([lstm("x", ["", "y"])], {"y": 3})
    rounded = X.astype(np.float16).astype(np.float32)
    wanted = plain_session(plain.SerializeToString()).run(None, {"x": rounded})[0]
    np.testing.assert_array_equal(run(to_fp16(proto(nodes, {"y": 3})).model)["y"], wanted)


def test_a_branch_that_reads_the_fp16_keeps_it():
    """What a subgraph captures is not renamed."""
    out = helper.make_tensor_value_info("i", FLOAT, None)
    inner = helper.make_graph([node("Mul", ["t", "t"], ["i"], "inner")], "inner", [], [out])
    nodes = [
        node("Transpose", ["x"], ["t"], "t", perm=[1, 0, 2]),
        node("If", ["go"], ["z"], "if", then_branch=inner, else_branch=inner),
        lstm("t", ["", "y"]),
    ]
    wanted = run(proto(nodes, {"y": 3, "z": 3}))
    found = run(to_fp16(proto(nodes, {"y": 3, "z": 3})).model)
    np.testing.assert_array_equal(found["y"], wanted["y"])
    rounded = X.transpose(1, 0, 2).astype(np.float16)
    np.testing.assert_array_equal(found["z"], (rounded * rounded).astype(np.float32))


def test_only_a_shape_is_read_of_a_large_input():
    """No cast is left of an input of which FP16 nodes read the sizes alone."""
    nodes = [
        node("Shape", ["x"], ["sizes"], "shape"),
        lstm("x", ["s"]),
        node("Squeeze", ["s", "one"], ["q"], "q"),
        node("Reshape", ["q", "sizes"], ["y"], "y"),
    ]
    model = to_fp16(proto(nodes, {"y": 3})).model
    assert [list(item.input) for item in model.graph.node if item.op_type == "Shape"] == [["x"]]
    assert HALF not in {item.i for made in model.graph.node for item in made.attribute if item.name == "to"}


@pytest.mark.parametrize("shape", ["x:1x4x4", "x:2x3x4:2x5x4:2x9x4", "x:1x1x4:1x5x4:1x9x4"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_tensorrt_rtx_builds_it_at_any_length(op, shape, tmp_path):
    """With casts before X it builds none but the last."""
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build
    from edgekit.configs import BuildConfig

    rows = {"LSTM": 4, "GRU": 3, "RNN": 1}[op] * 8
    nodes = [
        node("Transpose", ["x"], ["t"], "t", perm=[1, 0, 2]),
        node(op, ["t", "w", "r"], ["", "s"], "cell", hidden_size=8),
        node("MatMul", ["s", "m"], ["y"], "product"),
    ]
    model = proto(nodes, {"y": 3})
    for name, sizes in (("w", (1, rows, 4)), ("r", (1, rows, 8)), ("m", (8, 4))):
        weight = RANDOM.normal(size=sizes).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    onnx.save(to_fp16(model).model, tmp_path / "m.onnx")
    report = build(tmp_path / "m.onnx", tmp_path / "m.engine", BuildConfig("rtx", ("8.6",), (shape,)))
    assert report.layers
