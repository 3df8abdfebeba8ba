"""Where no Q/DQ pair belongs: inside attention, and on what a normalization or a Softmax reads.

An attention is a Softmax whose output goes into a product of two activations, the value product; in front of the
Softmax there may be a score product. Both, and all that moves, scales or masks numbers between them and the projections
in front, are the inside. Source of the pattern: NVIDIA TensorRT documentation, Fused Attention.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

import onnx

from edgekit.quantize.legal.graph import DQ, Edge, Q, QdqGraph
from edgekit.rewrite.names import ONNX_DOMAINS

_PRODUCTS = ("MatMul", "Einsum")
_MOVES = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Cast"}
_INSIDE = _MOVES | {"Softmax", "Split", "Slice", "Gather", "Concat", "Expand", "Tile", "Dropout", "Where"}
_INSIDE |= {"Add", "Sub", "Mul", "Div", "Neg", "Sqrt", "Tanh", "Clip", "Min", "Max"}
_INSIDE |= {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "And", "Or", "Not"}
_READ_IN_FLOAT = ("LayerNormalization", "RMSNormalization", "Softmax", "LogSoftmax")


@dataclass(frozen=True)
class Attention:
    """`node` is the value product, or an Attention node; `edges` are the pairs inside. `whole` says that they stand
    just where TensorRT fuses an INT8 attention: on q and k, on the Softmax's output, on v and on the result."""

    node: onnx.NodeProto
    edges: tuple[Edge, ...]
    whole: bool = False


def attentions(graph: QdqGraph) -> list[Attention]:
    """All attentions that have a pair inside."""
    found = []
    for node in graph.nodes:
        softmax = _softmax_before(graph, node) if _is_product(graph, node) else None
        if softmax is not None or node.op_type == "Attention":
            edges = tuple(graph.edges(_inside(graph, node)))
            found.append(Attention(node, edges, softmax is not None and _is_whole(graph, node, softmax)))
    return [item for item in found if item.edges]


def normalization_edges(graph: QdqGraph) -> Iterator[Edge]:
    """Every input of a normalization or a Softmax that comes out of a DQ."""
    named = [node for node in graph.nodes if node.op_type in _READ_IN_FLOAT and node.domain in ONNX_DOMAINS]
    spelled_out = [part for node in graph.nodes if node.op_type == "Sqrt" for part in _layer_norm(graph, node)]
    return graph.edges([*named, *spelled_out])


def _is_product(graph: QdqGraph, node: onnx.NodeProto) -> bool:
    """Whether two activations are multiplied."""
    return node.op_type in _PRODUCTS and len(node.input) == 2 and not any(map(graph.is_constant, node.input))


def _behind(graph: QdqGraph, name: str) -> onnx.NodeProto | None:
    """The node that makes a tensor, as if there were no pairs."""
    maker = graph.maker(name)
    while maker is not None and maker.op_type in (Q, DQ):
        maker = graph.maker(maker.input[0])
    return maker


def _backwards(
    graph: QdqGraph, starts: Iterable[onnx.NodeProto], passes: Callable[[onnx.NodeProto], bool]
) -> Iterator[onnx.NodeProto]:
    """The nodes in front of `starts`, nearest first, as if there were no pairs: on through those that it passes."""
    seen: set[int] = set()
    names = collections.deque(name for node in starts for name in node.input)
    while names:
        maker = _behind(graph, names.popleft())
        if maker is not None and id(maker) not in seen:
            seen.add(id(maker))
            yield maker
            names.extend(maker.input if passes(maker) else ())


def _inside(graph: QdqGraph, start: onnx.NodeProto) -> list[onnx.NodeProto]:
    """`start`, and what lies between it and the projections."""

    def belongs(node: onnx.NodeProto) -> bool:
        return node.op_type in _INSIDE or _is_product(graph, node)

    return [start, *filter(belongs, _backwards(graph, [start], belongs))]


def _softmax_before(graph: QdqGraph, product: onnx.NodeProto) -> onnx.NodeProto | None:
    """The Softmax whose output this is a product with, through moves, masks and dropouts."""
    found = _backwards(graph, [product], lambda node: node.op_type in _MOVES | {"Where", "Dropout"})
    return next((node for node in found if node.op_type == "Softmax"), None)


def _is_whole(graph: QdqGraph, product: onnx.NodeProto, softmax: onnx.NodeProto) -> bool:
    """The five places, and none between the score product and the Softmax."""
    in_front = _backwards(graph, [softmax], lambda node: node.op_type in _INSIDE)
    scores = next((node for node in in_front if _is_product(graph, node)), None)
    if scores is None:
        return False
    between = _backwards(graph, [softmax], lambda node: node is not scores and node.op_type in _INSIDE)
    read = _readers_through(graph, product.output[0], _MOVES)
    return (
        all(_out_of_pair(graph, name) for node in (scores, product) for name in node.input)
        and not list(graph.edges([softmax, *(node for node in between if node.op_type in _INSIDE)]))
        and {node.op_type for node in read} == {Q}
    )


def _out_of_pair(graph: QdqGraph, name: str) -> bool:
    maker = graph.maker(name, DQ, *_MOVES)
    return maker is not None and (maker.op_type == DQ or _out_of_pair(graph, maker.input[0]))


def _readers_through(graph: QdqGraph, name: str, passed: Collection[str]) -> Iterator[onnx.NodeProto]:
    """Who reads a tensor, behind nodes of the types that are passed."""
    for reader, at in graph.readers(name):
        if reader.op_type in passed and at == 0:
            yield from _readers_through(graph, reader.output[0], passed)
        else:
            yield reader


def _layer_norm(graph: QdqGraph, root: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The nodes of a normalization that is spelled out around a square root: mean, difference, square, mean, sum with
    epsilon, root, quotient, gain and offset; none where it is another root."""
    epsilon = _behind(graph, root.input[0])
    mean = _maker_of(graph, epsilon, "Add", "ReduceMean")
    square = _maker_of(graph, mean, "ReduceMean", "Pow", "Mul")
    if epsilon is None or mean is None or square is None:
        return []
    front = [node for node in [_behind(graph, square.input[0])] if node is not None and node.op_type == "Sub"]
    front += [node for node in _backwards(graph, front, lambda node: False) if node.op_type == "ReduceMean"]
    behind = _quotient(graph, root)
    return [*front, square, mean, epsilon, root, *behind] if behind else []


def _maker_of(graph: QdqGraph, node: onnx.NodeProto | None, op_type: str, *wanted: str) -> onnx.NodeProto | None:
    """Where the node is of `op_type`: who makes its first input that one of `wanted` makes."""
    if node is None or node.op_type != op_type:
        return None
    makers = (_behind(graph, name) for name in node.input)
    return next((maker for maker in makers if maker is not None and maker.op_type in wanted), None)


def _quotient(graph: QdqGraph, root: onnx.NodeProto) -> list[onnx.NodeProto]:
    """What divides by a root, and the constant gain and offset that follow."""
    turned = _reader(graph, root, "Reciprocal")
    divided = _reader(graph, root, "Div") if turned is None else _reader(graph, turned, "Mul")
    if divided is None:
        return []
    gain = _reader(graph, divided, "Mul", by_constant=True)
    offset = _reader(graph, gain or divided, "Add", by_constant=True)
    return [node for node in (turned, divided, gain, offset) if node is not None]


def _reader(graph: QdqGraph, node: onnx.NodeProto, op_type: str, *, by_constant: bool = False) -> onnx.NodeProto | None:
    """Who of that type reads what a node makes, as if there were no pairs; or only with a constant beside it."""
    for reader in _readers_through(graph, node.output[0], (Q, DQ)):
        if reader.op_type == op_type and (not by_constant or any(map(graph.is_constant, reader.input))):
            return reader
    return None
