"""Puts other nodes in the place of some, in the main graph and in all subgraphs, and knows element types and ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import onnx

from edgekit.rewrite.element_types import declared_types, made_types
from edgekit.rewrite.names import ONNX_DOMAINS, Names, graphs_of, subgraphs
from edgekit.rewrite.writer import NodeWriter


@dataclass(frozen=True)
class Scope:
    """What is known where a node stands: element types and ranks of the tensors that it can see, by name."""

    opset: int
    types: dict[str, int] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)


IsMeant = Callable[[onnx.NodeProto, int], bool]
Write = Callable[[NodeWriter, onnx.NodeProto, Scope], None]


def opset_of(model: onnx.ModelProto | onnx.FunctionProto) -> int:
    """The version of ONNX's operators that a model or a function uses; 0 where it uses none."""
    return next((entry.version for entry in model.opset_import if entry.domain in ONNX_DOMAINS), 0)


def replace_nodes(model: onnx.ModelProto, is_meant: IsMeant, write: Write) -> bool:
    """Let `write` write what stands for each node that `is_meant`, called with the opset; true where it wrote any.

    In place. A node for which nothing is written stays.
    """
    opset = opset_of(model)
    if not any(is_meant(node, opset) for graph in graphs_of(model.graph) for node in graph.node):
        return False
    if not _Replacing(model, is_meant, write).graph(model.graph, Scope(opset)):
        return False
    model.ir_version = max(model.ir_version, 4)  # before, every initializer had to be an input too
    return True


class _Replacing:
    def __init__(self, model: onnx.ModelProto, is_meant: IsMeant, write: Write) -> None:
        self._model, self._names, self._is_meant, self._write = model, Names(model), is_meant, write

    def graph(self, graph: onnx.GraphProto, outer: Scope) -> bool:
        """True where a node of the graph or of a subgraph was replaced."""
        scope = Scope(outer.opset, outer.types | declared_types(graph), outer.ranks | declared_ranks(graph))
        nodes: list[onnx.NodeProto] = []
        modified = False
        for node in graph.node:
            for inner in subgraphs(node):
                modified |= self.graph(inner, scope)
            made = self._instead_of(node, scope) if self._is_meant(node, scope.opset) else []
            modified |= bool(made)
            made = made or [onnx.NodeProto.FromString(node.SerializeToString())]
            for item in made:
                scope.types.update(made_types(item, scope.types, scope.opset))
            nodes += made
        if modified:
            del graph.node[:]
            graph.node.extend(nodes)
        return modified

    def _instead_of(self, node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
        dtype = next((scope.types[name] for name in node.input if scope.types.get(name)), 0)
        writer = NodeWriter(self._model, self._names, node, dtype, scope.opset)
        self._write(writer, node, scope)
        return writer.nodes


def declared_ranks(graph: onnx.GraphProto) -> dict[str, int]:
    """Ranks of the inputs, the initializers and what the file notes of inner values."""
    values = (*graph.value_info, *graph.input)
    shapes = {value.name: value.type.tensor_type for value in values}
    known = {name: len(kind.shape.dim) for name, kind in shapes.items() if kind.HasField("shape")}
    return known | {tensor.name: len(tensor.dims) for tensor in graph.initializer}
