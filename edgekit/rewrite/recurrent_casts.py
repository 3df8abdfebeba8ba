"""Keeps TensorRT-RTX from fusing a cast of 16 bits into a recurrence, which it fails to build.

1. Of LSTM, GRU and RNN in the main graph that go forward, X is looked at. Where it comes, through moves and casts
   alone, from FP16 or BF16, and has two steps or more at the least sizes of a profile, a Sub of zero is put before it.
2. x - 0 is x, for -0 and what is no number too: the recurrence computes what it did, bit for bit.
3. A recurrence that may have one step is left alone: it builds as it is. One whose steps are not known gets the Sub.

TensorRT-RTX 1.7.1 stops with "Mismatched number of elements in reshape op" at such a recurrence; one that goes backward
or both ways builds. Found by building: a product with one is folded away before and does not help, nor does a Sub in
16 bits, before the cast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from edgekit.rewrite import PassResult
from edgekit.rewrite.emulated import narrow_dtypes
from edgekit.rewrite.moves import moved
from edgekit.rewrite.names import ONNX_DOMAINS, Names
from edgekit.rewrite.recurrent_node import KINDS
from edgekit.rewrite.shapes_at import Known, shapes_at
from edgekit.rewrite.sort_nodes import sort_nodes

# 0 is what shape inference does not know.
_NARROW = (0, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
# What TensorRT sees through as well: their first input is what comes out, but for its dtype.
_SEEN_THROUGH = ("Cast", "CastLike", "Dropout")
_UNKNOWN = Known(0, None)
Sizes = Mapping[str, tuple[int, ...]]


def part_casts(model: onnx.ModelProto, least: Sequence[Sizes]) -> PassResult:
    """Put the Subs where they are needed, in place; `least` has the least sizes of the inputs by name, a profile each.

    Raises ModelError where the sizes do not fit the model.
    """
    forward = [node for node in model.graph.node if _goes_forward(node)]
    if not forward or not narrow_dtypes(model):
        return PassResult(model, False)
    makers = {name: node for node in model.graph.node for name in node.output if name}
    known = [shapes_at(model, sizes) for sizes in least]
    meant = [
        node
        for node in forward
        if _is_wide_of_narrow(node.input[0], makers, known[0]) and any(_is_long(node, at) for at in known)
    ]
    if not meant:
        return PassResult(model, False)
    _part(model, meant)
    return PassResult(sort_nodes(model).model, True)


def _part(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Append a Sub for each X, once where recurrences share it."""
    names = Names(model)
    zero = names("part_casts_zero")
    model.graph.initializer.append(onnx.helper.make_tensor(zero, onnx.TensorProto.FLOAT, [], [0.0]))
    parted: dict[str, str] = {}
    for node in nodes:
        x = node.input[0]
        if x not in parted:
            parted[x] = names(f"{x}_parted")
            model.graph.node.append(onnx.helper.make_node("Sub", [x, zero], [parted[x]], names(f"{x}_part")))
        node.input[0] = parted[x]
    model.ir_version = max(model.ir_version, 4)  # before, every initializer had to be an input too


def _goes_forward(node: onnx.NodeProto) -> bool:
    directions = [item.s for item in node.attribute if item.name == "direction"]
    return node.op_type in KINDS and node.domain in ONNX_DOMAINS and directions in ([], [b"forward"])


def _is_wide_of_narrow(name: str, makers: Mapping[str, onnx.NodeProto], known: Mapping[str, Known]) -> bool:
    """Whether a tensor of FP32 comes from one of 16 bits with nothing but moves and casts between."""
    if known.get(name, _UNKNOWN).dtype not in (0, onnx.TensorProto.FLOAT):
        return False
    waiting, seen = [name], {name}
    while waiting:
        node = makers.get(waiting.pop())
        if node is None:
            continue
        more = node.input[:1] if node.op_type in _SEEN_THROUGH else moved(node)
        if any(known.get(value, _UNKNOWN).dtype in _NARROW for value in more):
            return True
        waiting += [value for value in more if value not in seen]
        seen.update(more)
    return False


def _is_long(node: onnx.NodeProto, known: Mapping[str, Known]) -> bool:
    """Whether X, [T,N,I] or with `layout` [N,T,I], has two steps or more, as far as that is known."""
    shape = known.get(node.input[0], _UNKNOWN).shape
    layout = next((item.i for item in node.attribute if item.name == "layout"), 0)
    return shape is None or len(shape) != 3 or shape[layout] > 1
