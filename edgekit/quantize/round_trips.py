"""What goes from FP32 to FP16 and back with nothing but moves between stays FP32.

onnxruntime's converter casts to FP16 behind the inputs of a model and each node that stays in FP32, and back before
each such node: what these are kept in FP32 for would overflow or be rounded between them. TensorRT-RTX 1.7.1 builds no
recurrence of two steps or more behind such casts.
"""

from __future__ import annotations

import onnx

from edgekit.rewrite.moves import moved
from edgekit.rewrite.names import Names
from edgekit.rewrite.sort_nodes import sort_nodes
from edgekit.rewrite.unread import drop_unread

_FP32, _FP16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def without_round_trips(model: onnx.ModelProto, own: set[str]) -> onnx.ModelProto:
    """Let FP32 go straight from one FP32 node to the next, in place; `own` are the nodes that the model had before.

    1. A cast back to FP32 goes where its FP16 comes, through moves alone, from FP32 that the converter cast; a cast
       that the model had itself was meant, and rounds as before.
    2. The moves between are written anew in FP32. Where FP16 nodes read them as well they stay for these.
    3. Shapes are read of the FP32.

    The nodes must be sorted. What the converter's casts are called depends on onnxruntime's version.
    """
    graph = model.graph
    wide = _written_wide(model, own)
    outputs = {value.name for value in graph.output}
    straight = {}
    for node in graph.node:
        if node.op_type in ("Shape", "Size"):
            node.input[0] = wide.get(node.input[0], node.input[0])
        elif _casts_to(node, _FP32) and node.input[0] in wide:
            if node.output[0] in outputs:
                node.op_type = "Identity"
                node.input[0] = wide[node.input[0]]
                del node.attribute[:]
            else:
                straight[node.output[0]] = wide[node.input[0]]
    for node in graph.node:
        node.input[:] = [straight.get(name, name) for name in node.input]
    return drop_unread(sort_nodes(model).model).model


def _written_wide(model: onnx.ModelProto, own: set[str]) -> dict[str, str]:
    """Append the moves that are needed in FP32; return the FP32 tensor that each FP16 one was made of, as far as known.

    Twins of moves are read by nobody yet.
    """
    graph = model.graph
    wide = {node.output[0]: node.input[0] for node in graph.node if _casts_to(node, _FP16) and node.name not in own}
    moves, reached = [], set(wide)
    for node in graph.node:
        if moved(node) and reached.issuperset(moved(node)):
            moves.append(node)
            reached.update(node.output)
    needed = {node.input[0] for node in graph.node if _casts_to(node, _FP32)}
    for node in reversed(moves):
        if needed.intersection(node.output):
            needed.update(moved(node))
    names = Names(model)
    for node in moves:
        if needed.intersection(node.output):
            _write_wide(graph, node, wide, names)
    return wide


def _write_wide(graph: onnx.GraphProto, move: onnx.NodeProto, wide: dict[str, str], names: Names) -> None:
    """Append the twin of a move, whose values are in `wide`, and add what it makes."""
    twin = onnx.NodeProto.FromString(move.SerializeToString())
    count = len(moved(move))
    twin.name = names(f"{move.name}_fp32")
    twin.input[:count] = [wide[name] for name in move.input[:count]]
    for index, name in enumerate(move.output):
        if name:
            wide[name] = twin.output[index] = names(f"{name}_fp32")
    known = [value for value in graph.value_info if value.name in move.output]
    for value in known:
        described = graph.value_info.add()
        described.CopyFrom(value)
        described.name = wide[value.name]
        described.type.tensor_type.elem_type = _FP32
    graph.node.append(twin)


def _casts_to(node: onnx.NodeProto, dtype: int) -> bool:
    return node.op_type == "Cast" and any(item.name == "to" and item.i == dtype for item in node.attribute)
