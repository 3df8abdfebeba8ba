"""A move makes what it read: onnxruntime runs each of them over numbers that are all different."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.judge import plain_session  # noqa: E402
from edgekit.rewrite.moves import moved  # noqa: E402

node = onnx.helper.make_node
# [2,3,4]; the other inputs of each operator.
MOVES = {
    "Transpose": ({"perm": [2, 0, 1]}, {}),
    "Reshape": ({}, {"to": [4, 6]}),
    "Squeeze": ({}, {}),
    "Unsqueeze": ({}, {"axes": [1]}),
    "Identity": ({}, {}),
    "Flatten": ({}, {}),
    "Slice": ({}, {"starts": [1], "ends": [3], "axes": [2]}),
    "Expand": ({}, {"to": [2, 2, 3, 4]}),
    "Gather": ({"axis": 1}, {"rows": [2, 0]}),
    "Split": ({"axis": 2}, {"sizes": [1, 3]}),
    "Concat": ({"axis": 0}, {}),
}


@pytest.mark.parametrize("op", MOVES)
def test_what_comes_out_went_in(op):
    attributes, more = MOVES[op]
    values = {"x": 1.0, "z": 100.0} if op == "Concat" else {"x": 1.0}
    feeds = {name: np.arange(24, dtype=np.float32).reshape(2, 3, 4) + start for name, start in values.items()}
    outputs = ["y", "w"] if op == "Split" else ["y"]
    move = node(op, [*feeds, *more], outputs, **attributes)
    assert list(moved(move)) == list(feeds)
    sides = [
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in names]
        for names, shape in ((feeds, [2, 3, 4]), (outputs, None))
    ]
    tensors = [onnx.numpy_helper.from_array(np.array(value), name) for name, value in more.items()]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([move], "g", *sides, tensors),
        opset_imports=[onnx.helper.make_opsetid("", 20)],
        ir_version=10,
    )
    made = plain_session(model.SerializeToString()).run(None, feeds)
    kept = {value for array in feeds.values() for value in array.ravel().tolist()}
    assert all(array.size and set(array.ravel().tolist()) <= kept for array in made)


OTHERS = {
    "Relu": node("Relu", ["x"], ["y"]),
    "Add": node("Add", ["x", "z"], ["y"]),
    "Pad": node("Pad", ["x", "p", "filling"], ["y"]),
    "foreign": node("Identity", ["x"], ["y"], domain="foreign"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_anything_else_moves_nothing(other):
    assert list(moved(OTHERS[other])) == []
