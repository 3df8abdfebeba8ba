"""Take Q/DQ pairs away from where floating point belongs: biases, attention, normalizations.

1. A reader of such a pair reads what the pair rounded; other readers keep the pair.
2. A stored integer tensor becomes FP32: (q - zero point) * scale.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable

import onnx

from edgekit.quantize.legal.graph import DQ, Edge, QdqGraph
from edgekit.quantize.legal.numbers import bias_edges
from edgekit.quantize.legal.placing import misplaced_edges
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import Names


def float_biases(model: onnx.ModelProto) -> PassResult:
    """Biases of layers in FP32, in place."""
    graph = QdqGraph(model)
    count = bypass(model, graph, bias_edges(graph))
    return PassResult(model, bool(count), (f"int32-bias, quantized-bias: {count} biases in FP32",) if count else ())


def bypass_misplaced(model: onnx.ModelProto) -> PassResult:
    """No pairs inside attention and on normalizations, in place."""
    graph = QdqGraph(model)
    misplaced = misplaced_edges(graph)
    count = bypass(model, graph, (edge for _, edge in misplaced))
    by_rule = collections.Counter(rule for rule, _ in misplaced)
    notes = tuple(f"{rule}: {number} inputs without Q/DQ" for rule, number in by_rule.items())
    return PassResult(model, bool(count), notes if count else ())


def bypass(model: onnx.ModelProto, graph: QdqGraph, edges: Iterable[Edge]) -> int:
    """Let these readers read around their pairs; return how many could."""
    names, stored = Names(model), dict[str, str]()
    changes = [(edge, _floating(model, graph, edge.dq, names, stored)) for edge in edges]
    for edge, source in changes:
        if source:
            edge.reader.input[edge.at] = source
    return sum(bool(source) for _, source in changes)


def _floating(model: onnx.ModelProto, graph: QdqGraph, dq: onnx.NodeProto, names: Names, stored: dict[str, str]) -> str:
    """What a pair, or several one behind the other, round; nothing where integers are fed or computed."""
    before = graph.before(dq)
    if before:
        further = graph.maker(before, DQ)
        return before if further is None else _floating(model, graph, further, names, stored) or before
    key = dq.output[0]
    if key not in stored:
        values = graph.numbers(dq)
        if values is None:
            return ""
        stored[key] = names(f"{key}_float")
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, stored[key]))
    return stored[key]
