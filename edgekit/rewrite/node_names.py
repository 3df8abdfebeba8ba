"""A name of its own for every node, which reports, errors and TensorRT's layer list can say.

1. A node without a name becomes `<operator>_<index in its graph>`.
2. A node with another one's name gets the first free of `<name>_1`, `<name>_2` …; the first one keeps it.
3. Line breaks, other control characters and square brackets become `_`: TensorRT prints one layer a line, and the
   names of its nodes in brackets.
4. Names of tensors are never changed, and a node may have the name of a tensor.

Also in subgraphs. Source: ONNX IR specification, "Names Within a Graph": names of nodes are optional, and unique.
"""

from __future__ import annotations

import re

import onnx

from edgekit.rewrite import PassResult
from edgekit.rewrite.names import graphs_of

_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\[\]]")


def name_nodes(model: onnx.ModelProto) -> PassResult:
    """Rewrite in place."""
    nodes = [(at, node) for graph in graphs_of(model.graph) for at, node in enumerate(graph.node)]
    kept = {node.name for _, node in nodes}
    taken: set[str] = set()
    modified = False
    for at, node in nodes:
        name = node.name
        if not name or name in taken or _UNSPEAKABLE.search(name):
            wanted = _UNSPEAKABLE.sub("_", name) or f"{node.op_type}_{at}"
            name, count = wanted, 0
            while name in taken or name in kept:
                count += 1
                name = f"{wanted}_{count}"
            node.name = name
            modified = True
        taken.add(name)
    return PassResult(model, modified)
