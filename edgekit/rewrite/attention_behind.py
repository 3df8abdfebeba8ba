"""What stands behind the softmax of an attention: casts, what saves from NaN, the second product, and zeros."""

from __future__ import annotations

from dataclasses import replace

import onnx

from edgekit.rewrite.attention_graph import AttentionGraph, attribute
from edgekit.rewrite.attention_parts import INFINITY, NUMBERS, Scoring, is_lowest

_MOST_STEPS = 12
_BOOL = onnx.TensorProto.BOOL


class NotAttentionError(Exception):
    """Why a softmax is left, in words that go on from "stays as it is:"."""


def second_product(graph: AttentionGraph, softmax: onnx.NodeProto) -> onnx.NodeProto:
    """The product with the values."""
    name = softmax.output[0]
    for _ in range(_MOST_STEPS):
        name = _without_nan(graph, name)
        node = graph.only_reader(name)
        if node is None:
            raise NotAttentionError("its weights are read elsewhere too")
        if node.op_type == "MatMul":
            if node.input[0] != name:
                break
            return node
        training = node.op_type == "Dropout" and len(node.input) > 2 and graph.scalar(node.input[2]) != 0
        if node.op_type not in ("Cast", "Dropout", "Identity") or training:
            raise NotAttentionError(f"{node.op_type} stands behind its softmax")
        if node.op_type == "Cast" and attribute(node, "to") not in NUMBERS:
            break
        name = node.output[0]
    raise NotAttentionError("no product with values is behind its softmax")


def _without_nan(graph: AttentionGraph, name: str) -> str:
    """Behind a Where that puts 0 for NaN, which a softmax makes where a query sees nothing: so does the operator.

    torch's exporter writes that behind every softmax with a mask.
    """
    readers = graph.readers(name, 2)
    where = next((node for node in readers if node.op_type == "Where"), None)
    asked = graph.maker(where.input[0], "IsNaN") if where is not None else None
    if where is None or asked is None or asked.input[0] != name or graph.only_reader(asked.output[0]) is None:
        return name
    return where.output[0] if where.input[2] == name and graph.scalar(where.input[1]) == 0 else name


def with_zeros(
    graph: AttentionGraph, second: onnx.NodeProto, steps: list[onnx.NodeProto], scoring: Scoring
) -> tuple[onnx.NodeProto, Scoring]:
    """The last node, and the scoring: with -infinity, if a Where makes zeros where a query sees nothing."""
    where = graph.only_reader(second.output[0])
    masked = next((node for node in reversed(steps) if node.op_type == "Where"), None)
    if where is None or where.op_type != "Where" or masked is None or graph.shape(where.output[0]) is None:
        return second, scoring
    zeros = where.input[1] == second.output[0] and graph.scalar(where.input[2]) == 0
    zeros = zeros and graph.scalar(masked.input[2]) is not None  # where the mask is true, scores stay
    mask = masked.input[0]
    if not zeros or _any_of(graph, where.input[0]) != mask or masked is not steps[-1]:
        return second, scoring
    if graph.shape(where.output[0]) != graph.shape(second.output[0]):
        return second, scoring
    if scoring.causal:  # a query sees itself: there is no such row
        return where, scoring
    *adds, last = scoring.masks
    if not adds:
        return where, replace(scoring, masks=(replace(last, lowest=-INFINITY),))
    if len(adds) > 1 or (lowest := _least_of(graph, mask, adds[0].tensor)) is None:
        return second, scoring
    kept = (replace(last, lowest=-INFINITY),) if lowest > -INFINITY else ()
    return where, replace(scoring, masks=(*adds, *kept))


def _any_of(graph: AttentionGraph, name: str) -> str:
    """The mask [..,S] of which this says, [..,1], whether a row has any: Cast, ReduceMax over the last axis, Cast."""
    last = graph.maker(name, "Cast")
    largest = graph.maker(last.input[0], "ReduceMax") if last is not None else None
    first = graph.maker(largest.input[0], "Cast") if largest is not None else None
    if last is None or largest is None or first is None or attribute(last, "to") != _BOOL:
        return ""
    axes = graph.values(largest.input[1]) if len(largest.input) > 1 else attribute(largest, "axes")
    over_last = axes == [-1] and attribute(largest, "keepdims", 1)
    return first.input[0] if over_last else ""


def _least_of(graph: AttentionGraph, mask: str, bias: str) -> float | None:
    """The number above which a mask finds the elements of a bias, if it does nothing else."""
    node = graph.maker(mask, "Greater", "GreaterOrEqual")
    if node is None or node.input[0] != bias:
        return None
    number = graph.scalar(node.input[1])
    exact = number == -INFINITY if node.op_type == "Greater" else number is not None and number > -INFINITY
    return number if exact and is_lowest(number) else None
