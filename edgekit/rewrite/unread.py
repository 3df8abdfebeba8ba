"""Drop what no one reads.

1. A node none of whose outputs is read, by another node, inside a subgraph or as an output of the model, goes; again,
   until there is none.
2. An initializer that no one reads goes, also where an old file lists it as an input.
3. So does what is said of the shape of a tensor that no node makes: onnxruntime's FP16 converter takes such a word for
   a tensor to cast.
"""

from __future__ import annotations

import onnx

from edgekit.rewrite import PassResult
from edgekit.rewrite.sort_nodes import names_used


def drop_unread(model: onnx.ModelProto) -> PassResult:
    """Drop in place, in the main graph; the nodes must be sorted."""
    graph = model.graph
    read = {value.name for value in graph.output}
    nodes = []
    for node in reversed(graph.node):
        if read.intersection(node.output):
            read.update(name for name in names_used(node) if name)  # an input left out is no name
            nodes.append(node)
    unread = {tensor.name for tensor in graph.initializer if tensor.name not in read}
    modified = bool(unread) or len(nodes) < len(graph.node)
    if len(nodes) < len(graph.node):
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(nodes)]
        del graph.node[:]
        graph.node.extend(copies)
    made = {name for node in graph.node for name in node.output}
    stale = [value for value in graph.value_info if value.name not in made]
    for value in stale:
        graph.value_info.remove(value)
    for tensor in [tensor for tensor in graph.initializer if tensor.name in unread]:
        graph.initializer.remove(tensor)
    for value in [value for value in graph.input if value.name in unread]:
        graph.input.remove(value)
    return PassResult(model, modified)
