"""The rules on where Q/DQ pairs stand: attention, normalizations, Concat, residual sums."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from edgekit.quantize.legal.breach import Breach, breach
from edgekit.quantize.legal.graph import DQ, Edge, Q, QdqGraph
from edgekit.quantize.legal.numbers import bias_edges
from edgekit.quantize.legal.regions import attentions, normalization_edges
from edgekit.rewrite.names import ONNX_DOMAINS


def misplaced_edges(graph: QdqGraph) -> list[tuple[str, Edge]]:
    """Every input that no pair belongs on, but for biases, once, with the rule that says so."""
    found: dict[tuple[int, int], tuple[str, Edge]] = {}
    all_inside = attentions(graph)
    broken = [edge for item in all_inside if not item.whole for edge in item.edges]
    for rule, edges in (("attention", broken), ("normalization", normalization_edges(graph))):
        for edge in edges:
            found.setdefault(edge.key, (rule, edge))
    other = {edge.key for item in all_inside if item.whole for edge in item.edges}
    other |= {edge.key for edge in bias_edges(graph)}
    return [item for key, item in found.items() if key not in other]


def concat_edges(graph: QdqGraph) -> list[list[Edge]]:
    """Of each Concat the inputs that come out of pairs, where their scales are not all the same."""
    found = []
    for node in graph.nodes:
        if node.op_type == "Concat":
            edges = [edge for edge in graph.edges([node]) if graph.before(edge.dq)]
            scales = [graph.scheme(edge.dq).scale for edge in edges]
            known = [scale for scale in scales if scale is not None and scale.ndim == 0]
            if len({float(scale) for scale in known}) > 1:
                found.append(edges)
    return found


def placing_breaches(graph: QdqGraph) -> Iterator[Breach]:
    """All breaches of the rules on places."""
    for item in attentions(graph):
        if item.whole:
            told = f"pairs on q, k, v, the Softmax's output and the result: {len(item.edges)} inside"
            yield breach("int8-attention", item.node, item.node.output[0], told)
    misplaced = misplaced_edges(graph)
    for rule, edge in misplaced:
        name = graph.before(edge.dq) or edge.dq.input[0]
        yield breach(rule, edge.reader, name, f"{edge.reader.op_type} reads {name!r} as {graph.scheme(edge.dq)}")
    named = {id(edge.reader) for _, edge in misplaced}
    for edges in concat_edges(graph):
        if id(edges[0].reader) not in named:
            yield _concat_breach(graph, edges)
    yield from _residual_breaches(graph)


def _concat_breach(graph: QdqGraph, edges: list[Edge]) -> Breach:
    told = ", ".join(f"{graph.before(edge.dq)!r}: {graph.scheme(edge.dq)}" for edge in edges)
    return breach("concat-scales", edges[0].reader, graph.before(edges[0].dq), f"the inputs differ: {told}")


def _residual_breaches(graph: QdqGraph) -> Iterator[Breach]:
    """Adds of two branches of which one comes straight out of a quantized convolution and none out of a pair."""
    for node in graph.nodes:
        branches = quantized_branches(graph, node)
        if branches and not list(graph.edges([node])):
            skip = node.input[1 - branches[0]]
            yield breach("residual", node, skip, f"the skip input {skip!r} has no pair")


def quantized_branches(graph: QdqGraph, node: onnx.NodeProto) -> list[int]:
    """Of a sum of two activations, and of no other node, the inputs that a quantized convolution makes, with or without
    a pair behind it; the last one first, as exporters write x + f(x)."""
    if node.op_type != "Add" or node.domain not in ONNX_DOMAINS or any(map(graph.is_constant, node.input)):
        return []
    return [at for at in (1, 0) if _made_by_quantized_convolution(graph, node.input[at])]


def _made_by_quantized_convolution(graph: QdqGraph, name: str) -> bool:
    maker = graph.maker(name)
    while maker is not None and maker.op_type in (Q, DQ, "BatchNormalization"):
        maker = graph.maker(maker.input[0])
    convolution = maker is not None and maker.op_type in ("Conv", "ConvTranspose")
    return convolution and maker is not None and graph.maker(maker.input[1], DQ) is not None
