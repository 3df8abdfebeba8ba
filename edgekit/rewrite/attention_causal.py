"""Whether a mask of truth values is the causal one, proved from how it is computed: key j is seen where j <= i + c.

1. Positions are Range by steps of 1, moved by Unsqueeze to the axis of the queries (-2) or of the keys (-1), plus or
   minus numbers. Numbers are constants, sizes that Shape tells, and their sums. Sizes are known by the name that the
   inputs have for them: what has one name has one size.
2. LessOrEqual, Less, GreaterOrEqual or Greater compares the two, or Trilu cuts a matrix of ones; Not, or Equal to 0,
   turns it around.
3. All else is not proved, and stays a mask: a window as wide as no test is long would look causal in any trial.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from edgekit.rewrite.attention_graph import AttentionGraph, attribute

# A sum: how often each named size is in it, and under "" the constant; what is 0 is left out.
Sum = dict[str, int]
_INTEGERS = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
# Each comparison as: is it "left <= right" or "left < right", with the sides swapped or not.
_COMPARED = {
    "LessOrEqual": (True, False),
    "Less": (False, False),
    "GreaterOrEqual": (True, True),
    "Greater": (False, True),
}


@dataclass(frozen=True)
class _Integers:
    """A tensor of `rank` axes that is `start` plus the index along `axis`, or `start` alone where that is None."""

    start: Sum
    rank: int
    axis: int | None = None


def causal_offset(graph: AttentionGraph, mask: str, negated: bool = False) -> Sum | None:
    """c, where the mask (or its opposite) is true just where j <= i + c; None where that is not proved."""
    node = graph.maker(mask)
    if node is None:
        return None
    if node.op_type == "Not" or (node.op_type == "Equal" and graph.scalar(node.input[1]) == 0):
        return causal_offset(graph, node.input[0], not negated)
    if node.op_type == "Identity" or (node.op_type == "Cast" and attribute(node, "to") == onnx.TensorProto.BOOL):
        return causal_offset(graph, node.input[0], negated)
    if node.op_type == "Unsqueeze":
        return causal_offset(graph, node.input[0], negated) if _in_front(graph, node) else None
    if node.op_type == "Trilu":
        return _triangle(graph, node, negated)
    return _compared(graph, node, negated) if node.op_type in _COMPARED else None


def plus(one: Sum, other: Sum, times: int = 1) -> Sum:
    """one + times * other."""
    total = {name: one.get(name, 0) + times * other.get(name, 0) for name in {*one, *other}}
    return {name: count for name, count in total.items() if count}


def size_of(graph: AttentionGraph, name: str, axis: int) -> Sum | None:
    """A tensor's size as a sum."""
    size = graph.size(name, axis)
    return None if size is None else {size: 1} if isinstance(size, str) else plus({"": size}, {})


def _compared(graph: AttentionGraph, node: onnx.NodeProto, negated: bool) -> Sum | None:
    equal, swapped = _COMPARED[node.op_type]
    if negated:  # not (a <= b) is b < a
        equal, swapped = not equal, not swapped
    sides = [_integers(graph, name) for name in node.input]
    small, large = reversed(sides) if swapped else sides
    if small is None or large is None or (small.axis, large.axis) != (-1, -2):
        return None
    return plus(plus(large.start, small.start, -1), {} if equal else {"": -1})


def _triangle(graph: AttentionGraph, node: onnx.NodeProto, negated: bool) -> Sum | None:
    """Lower: j <= i + k; upper: j >= i + k, whose opposite is j <= i + k - 1."""
    upper = bool(attribute(node, "upper", 1))
    ones = graph.maker(node.input[0], "ConstantOfShape", "Expand")
    if upper is not negated or ones is None or not _is_one(graph, ones):
        return None
    k = _integers(graph, node.input[1]) if len(node.input) > 1 and node.input[1] else _Integers({}, 0)
    if k is None or k.axis is not None:
        return None
    return plus(k.start, {"": -1}) if negated else k.start


def _is_one(graph: AttentionGraph, node: onnx.NodeProto) -> bool:
    if node.op_type == "Expand":
        return graph.scalar(node.input[0]) == 1
    value = attribute(node, "value")
    return value is not None and onnx.numpy_helper.to_array(value).item() == 1


def _integers(graph: AttentionGraph, name: str) -> _Integers | None:
    constant = graph.scalar(name)
    if constant is not None:
        return _Integers(plus({"": constant}, {}), graph.rank(name)) if isinstance(constant, int) else None
    node = graph.maker(name)
    if node is None:
        return None
    if node.op_type == "Range":
        return _positions(graph, node)
    if node.op_type in ("Add", "Sub"):
        return _added(graph, node)
    if node.op_type in ("Shape", "Gather"):
        return _told_size(graph, node)
    if node.op_type in ("Squeeze", "Unsqueeze", "Reshape"):
        return _moved(graph, node)
    whole = node.op_type == "Cast" and attribute(node, "to") in _INTEGERS
    return _integers(graph, node.input[0]) if whole or node.op_type == "Identity" else None


def _positions(graph: AttentionGraph, node: onnx.NodeProto) -> _Integers | None:
    start = _integers(graph, node.input[0])
    if start is None or start.axis is not None or graph.scalar(node.input[2]) != 1:
        return None
    return _Integers(start.start, 1, -1)


def _added(graph: AttentionGraph, node: onnx.NodeProto) -> _Integers | None:
    one, other = (_integers(graph, name) for name in node.input)
    if one is None or other is None:
        return None
    if node.op_type == "Add" and one.axis is None:
        one, other = other, one
    if other.axis is not None:
        return None
    start = plus(one.start, other.start, 1 if node.op_type == "Add" else -1)
    return _Integers(start, max(one.rank, other.rank), one.axis)


def _told_size(graph: AttentionGraph, node: onnx.NodeProto) -> _Integers | None:
    """One size that Shape tells, or that Gather takes of all."""
    if node.op_type == "Gather":
        index, shape = graph.scalar(node.input[1]), graph.maker(node.input[0], "Shape")
        if index is None or shape is None or shape.attribute:
            return None
        size, rank = size_of(graph, shape.input[0], int(index)), graph.rank(node.input[1])
    else:
        start, rank = attribute(node, "start", 0), 1
        size = size_of(graph, node.input[0], start) if attribute(node, "end", 0) == start + 1 else None
    return None if size is None else _Integers(size, rank)


def _moved(graph: AttentionGraph, node: onnx.NodeProto) -> _Integers | None:
    """A number with more or fewer axes, or positions with more."""
    inner, axes = _integers(graph, node.input[0]), _axes(graph, node)
    if inner is None or axes is None:
        return None
    if node.op_type == "Unsqueeze":
        rank = inner.rank + len(axes)
        new = {axis % rank for axis in axes}
        kept = [axis for axis in range(rank) if axis not in new]
        return _Integers(inner.start, rank, None if inner.axis is None else kept[inner.axis] - rank)
    if inner.axis is not None:
        return None
    return _Integers(inner.start, inner.rank - len(axes) if node.op_type == "Squeeze" and axes else len(axes))


def _in_front(graph: AttentionGraph, node: onnx.NodeProto) -> bool:
    """Whether an Unsqueeze leaves the last two axes the last two."""
    axes, shape = _axes(graph, node), graph.shape(node.output[0])
    if axes == list(range(len(axes or ()))):
        return True
    return axes is not None and shape is not None and all(axis % len(shape) < len(shape) - 2 for axis in axes)


def _axes(graph: AttentionGraph, node: onnx.NodeProto) -> list[int] | None:
    """Those that Squeeze (none: all of size 1) or Unsqueeze names, or the sizes that Reshape names."""
    if len(node.input) > 1:
        return graph.values(node.input[1])
    return list(attribute(node, "axes", ()))  # before opset 13
