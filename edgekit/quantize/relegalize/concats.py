"""One scale for the inputs of a Concat: the largest.

1. Pairs that meet in a Concat form a group, and so do groups that share a pair.
2. All Qs of a group, and the DQs behind them, get its largest scale.
3. A Q whose integers others than DQs read, one whose scale is no scalar that is known, and one that is no symmetric
   int8, such as FP8, whose scale is of another range, stay as they are; so does one that has nobody to share with.
"""

from __future__ import annotations

import numpy as np
import onnx

from edgekit.quantize.legal.graph import DQ, Q, QdqGraph
from edgekit.quantize.legal.placing import concat_edges
from edgekit.quantize.relegalize.activations import Parameters
from edgekit.rewrite import PassResult


def share_concat_scales(model: onnx.ModelProto) -> PassResult:
    """Mend in place."""
    graph, parameters = QdqGraph(model), Parameters(model)
    groups: list[dict[str, onnx.NodeProto]] = []
    for edges in concat_edges(graph):
        found = {edge.dq.input[0]: graph.maker(edge.dq.input[0], Q) for edge in edges}
        group = {name: node for name, node in found.items() if node is not None and _is_plain(graph, node)}
        if len(group) < 2:
            continue
        for other in [other for other in groups if other.keys() & group.keys()]:
            groups.remove(other)
            group |= other
        groups.append(group)
    for group in groups:
        largest = np.max([graph.value(node.input[1]) for node in group.values()])
        for name, node in group.items():
            for item in (node, *(reader for reader, _ in graph.readers(name))):
                parameters.give(item, largest)
    count = len(groups)
    notes = (f"concat-scales: {count} groups of inputs share a scale",) if count else ()
    return PassResult(model, bool(count), notes)


def _is_plain(graph: QdqGraph, node: onnx.NodeProto) -> bool:
    """Whether a Q is symmetric int8 of one known scale, and all its readers are DQs."""
    scheme = graph.scheme(node)
    if scheme.dtype != onnx.TensorProto.INT8 or scheme.shifted:
        return False
    only_read = all(reader.op_type == DQ for reader, _ in graph.readers(node.output[0]))
    return scheme.scale is not None and scheme.scalar and only_read and node.output[0] not in graph.outputs
