"""Dequantize first, then move: DQ(move(q)) becomes move(DQ(q)), so that pairs stand around operators.

1. A DQ of one scale whose integers come from a Q or a stored tensor through nodes that only move numbers, or choose
   among them as MaxPool does, steps in front of those nodes; the result is the same number for number.
2. Other readers of the moved integers keep them.
"""

from __future__ import annotations

import onnx

from edgekit.quantize.legal.graph import DQ, Q, QdqGraph
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import Names

_MOVES = ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather", "Expand", "Tile", "MaxPool")


def dequantize_first(model: onnx.ModelProto) -> PassResult:
    """Rewrite in place, and leave the nodes unsorted."""
    graph, names = QdqGraph(model), Names(model)
    count = 0
    for dq in [node for node in graph.quantizers() if node.op_type == DQ]:
        moves, start = _moves_before(graph, dq)
        scale = graph.scheme(dq).scale
        from_known = graph.maker(start, Q) is not None or graph.tensor(start) is not None
        if moves and from_known and scale is not None and scale.size == 1:
            _step_in_front(model.graph, dq, moves, start, names)
            count += 1
    notes = (f"integer-constant: {count} times integers are dequantized first and moved then",) if count else ()
    return PassResult(model, bool(count), notes)


def _moves_before(graph: QdqGraph, dq: onnx.NodeProto) -> tuple[list[onnx.NodeProto], str]:
    """The moves, nearest to the DQ first, and the integers that go into the farthest."""
    moves, name = [], dq.input[0]
    while (maker := graph.maker(name, *_MOVES)) is not None and len(maker.output) == 1:
        moves.append(maker)
        name = maker.input[0]
    return moves, name


def _step_in_front(
    graph: onnx.GraphProto, dq: onnx.NodeProto, moves: list[onnx.NodeProto], start: str, names: Names
) -> None:
    """Copy the moves, as others may read what they made, and make the last one give what the DQ gave."""
    result = dq.output[0]
    dq.input[0], dq.output[0] = start, names(f"{start}_dq")
    made = dq.output[0]
    for move in reversed(moves):
        copy = onnx.NodeProto.FromString(move.SerializeToString())
        copy.name = names(f"{move.name}_float")
        copy.input[0] = made
        made = result if move is moves[0] else names(f"{move.output[0]}_float")
        copy.output[0] = made
        graph.node.append(copy)
