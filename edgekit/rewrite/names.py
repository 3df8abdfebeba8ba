"""Names that no tensor and no node of a model has: foreign files have an `x_scale` beside their `x` too."""

from __future__ import annotations

from collections.abc import Iterator

import onnx


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
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            yield from attribute.graphs
