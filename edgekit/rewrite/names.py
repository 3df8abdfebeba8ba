"""Names that no tensor and no node of a model has: foreign files have an `x_scale` beside their `x` too."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

# ONNX's own operators stand under either name.
ONNX_DOMAINS = ("", "ai.onnx")


class Names:
    """Call it with a wanted name for that one or the first free of `name_1`, `name_2` …, taken from then on.

    Names inside of subgraphs are taken too: there they would hide what the main graph makes.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._taken: set[str] = set()
        for graph in graphs_of(model.graph):
            self._taken |= {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
            self._taken |= {tensor.values.name for tensor in graph.sparse_initializer}
            for node in graph.node:
                self._taken |= {node.name, *node.input, *node.output}

    def __call__(self, wanted: str) -> str:
        name, count = wanted, 0
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph and all that its nodes hold (If, Loop, Scan), however deep, outer ones first."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from graphs_of(inner)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in a node's attributes."""
    return (graph for _, graph in named_subgraphs(node))


def named_subgraphs(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """The same, each with the place in front of the names of its nodes, such as `If.then_branch/`."""
    for item in node.attribute:
        graphs = [item.g] if item.type == onnx.AttributeProto.GRAPH else item.graphs
        for at, graph in enumerate(graphs):
            yield f"{node.op_type}.{item.name}" + (f"[{at}]/" if at else "/"), graph
