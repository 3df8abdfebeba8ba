"""Bring back the Relu that a zero point stood for.

1. A zero point at the lower end of its type makes a Q cut off everything below 0. onnxruntime drops a Relu or Clip in
   front of such a Q, since the cut does its work (QDQRemovableActivation); a symmetric Q would let negatives through.
2. So a Relu comes in front of each such Q, unless what it reads is fed by the caller or is never negative anyway.
3. The upper end of a Clip needs none: the symmetric range ends at the same number.
"""

from __future__ import annotations

import onnx

from edgekit.quantize.legal.graph import DQ, Q, QdqGraph, Scheme
from edgekit.quantize.relegalize.activations import RANGES
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import Names

_NEVER_NEGATIVE = ("Relu", "Sigmoid", "Softmax", "HardSigmoid", "Softplus", "Abs", "Exp", "Sqrt")
_KEEP_SIGN = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "ReduceSum"}
_KEEP_SIGN |= {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Identity", "Dropout"}
_ALL_INPUTS = ("Concat", "Add", "Mul")


def restore_relus(model: onnx.ModelProto) -> PassResult:
    """Rewrite in place, and leave the nodes unsorted."""
    graph, names = QdqGraph(model), Names(model)
    relus: dict[str, str] = {}
    for node in [node for node in graph.quantizers() if node.op_type == Q]:
        name = node.input[0]
        free = graph.is_constant(name) or graph.is_input(name)
        if _cuts_at_zero(graph.scheme(node)) and not free and not _never_negative(graph, name):
            if name not in relus:
                relus[name] = names(f"{name}_relu")
                relu = onnx.helper.make_node("Relu", [name], [relus[name]], relus[name])
                model.graph.node.append(relu)
            node.input[0] = relus[name]
    notes = (f"zero-point: {len(relus)} stood for a Relu, which is back",) if relus else ()
    return PassResult(model, bool(relus), notes)


def _cuts_at_zero(scheme: Scheme) -> bool:
    """Whether the smallest integer means 0."""
    if scheme.dtype not in RANGES or scheme.scale is None:
        return False
    lowest = RANGES[scheme.dtype][0]
    return lowest == 0 if scheme.zero is None else bool((scheme.zero == lowest).all())


def _never_negative(graph: QdqGraph, name: str) -> bool:
    maker = graph.maker(name)
    if maker is None:
        return False
    if maker.op_type == DQ:
        return _cuts_at_zero(graph.scheme(maker))
    if maker.op_type in _ALL_INPUTS:
        return all(_never_negative(graph, item) for item in maker.input)
    return maker.op_type in _NEVER_NEGATIVE or (maker.op_type in _KEEP_SIGN and _never_negative(graph, maker.input[0]))
