"""Recurrent networks of a node or two, written by hand: any precision, with and without lengths, inside of an If."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(op: str = "LSTM", hidden: int = 256, lengths: bool = True, half: bool = False, **attributes: Any) -> Any:
    """x [time,batch,40] -> y: one node `steps`; `peepholes` gives an LSTM the input P."""
    peepholes = attributes.pop("peepholes", False)
    kind, dtype = (T.FLOAT16, np.float16) if half else (T.FLOAT, np.float32)
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    rows = GATES[op] * hidden
    weights = {"W": np.zeros((directions, rows, 40), dtype), "R": np.zeros((directions, rows, hidden), dtype)}
    inputs = ["x", "W", "R", "", "lengths" if lengths else ""]
    if peepholes:
        weights["P"] = np.zeros((directions, 3 * hidden), dtype)
        inputs += ["", "", "P"]
    node = helper.make_node(op, inputs, ["y"], "steps", hidden_size=hidden, **attributes)
    x = [helper.make_tensor_value_info("x", kind, ["time", "batch", 40])]
    x += [helper.make_tensor_value_info("lengths", T.INT32, ["batch"])] if lengths else []
    y = [helper.make_tensor_value_info("y", kind, ["time", directions, "batch", hidden])]
    return in_model([node], x, y, weights)


def in_model(nodes: Any, inputs: Any, outputs: Any, weights: dict[str, np.ndarray], opset: int = 20) -> Any:
    stored = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def inside_an_if(model: Any) -> Any:
    """The same node in one branch, zeros in the other."""
    graph = model.graph
    node = graph.node[0]
    inner = helper.make_graph([node], "then", [], [onnx.ValueInfoProto(name="y")])
    zero = helper.make_node("Mul", ["x", "nothing"], ["z"], "zero")
    other = helper.make_graph([zero], "else", [], [onnx.ValueInfoProto(name="z")])
    branch = helper.make_node("If", ["which"], ["out"], "branch", then_branch=inner, else_branch=other)
    weights = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    weights |= {"which": np.array(True), "nothing": np.array(0, weights["W"].dtype)}
    out = [helper.make_tensor_value_info("out", graph.output[0].type.tensor_type.elem_type, [None] * 4)]
    return in_model([branch], list(graph.input), out, weights)
