"""Put nodes into an order in which every input is made before it is used, as the ONNX specification demands.

1. A node depends on the nodes that make its inputs, and on those that make what its subgraphs (If, Loop, Scan) capture.
2. Among nodes that are ready, the one that stood first goes first: a sorted graph stays as it is.
3. Subgraphs are sorted by the same rule, innermost first.

Source: ONNX IR specification, "Graphs": nodes must be topologically sorted.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import onnx

from edgekit.errors import ModelError
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import subgraphs


def sort_nodes(model: onnx.ModelProto) -> PassResult:
    """Sort in place; ModelError when the graph has a cycle."""
    return PassResult(model, _sort(model.graph))


def _sort(graph: onnx.GraphProto) -> bool:
    modified = False
    for node in graph.node:
        for inner in subgraphs(node):
            modified |= _sort(inner)
    order = _order(list(graph.node))
    if order != list(range(len(order))):
        nodes = [graph.node[index] for index in order]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)
        modified = True
    return modified


def _order(nodes: list[onnx.NodeProto]) -> list[int]:
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    users: list[list[int]] = [[] for _ in nodes]
    missing = [0] * len(nodes)
    for index, node in enumerate(nodes):
        for maker in {makers[name] for name in names_used(node) if name in makers}:
            users[maker].append(index)
            missing[index] += 1
    ready = [index for index, count in enumerate(missing) if count == 0]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for user in users[index]:
            missing[user] -= 1
            if missing[user] == 0:
                heapq.heappush(ready, user)
    if len(order) < len(nodes):
        stuck = next(node for node, count in zip(nodes, missing, strict=True) if count)
        raise ModelError(
            f"expected a graph without cycles, found one through node {stuck.name!r} ({stuck.op_type})",
            "write a recurrence as LSTM, Scan or Loop",
        )
    return order


def names_used(node: onnx.NodeProto) -> Iterator[str]:
    """The names that a node reads, also inside its subgraphs; some of those are made inside."""
    yield from node.input
    for graph in subgraphs(node):
        for inner in graph.node:
            yield from names_used(inner)
        yield from (value.name for value in graph.output)
