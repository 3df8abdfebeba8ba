"""How much each node computes: the multiply-adds of those that have them, at known shapes.

Formulas are those of the ONNX operator specification. Shapes: N batch, C channels, T steps, I input, H hidden, S keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import onnx

from edgekit.rewrite.names import ONNX_DOMAINS, subgraphs
from edgekit.rewrite.operator_shapes import is_ours, made_by
from edgekit.rewrite.recurrent_node import KINDS
from edgekit.rewrite.shapes_at import Known

_NUMBERS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
Formula: TypeAlias = Callable[[onnx.NodeProto, list[Any], list[Any]], int]


@dataclass(frozen=True)
class Work:
    """What a node computes: `macs` multiply-adds, None where a size is unknown; `dtype` is ONNX's number of the type in
    which a strongly typed engine is to take its operands, 0 when unknown."""

    node: str
    op_type: str
    dtype: int
    macs: int | None


def multiply_adds(model: onnx.ModelProto, known: Mapping[str, Known]) -> tuple[Work, ...]:
    """The work of every node that multiplies matrices or convolves, in the order of the nodes.

    Of nodes inside of If, Loop and Scan the sizes are not known, and their types only where their weights tell.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    found = []
    for node in model.graph.node:
        item = work_of(node, known, makers)
        found += [] if item is None else [item]
        found += [item for inner in subgraphs(node) for item in _inside(inner, known)]
    return tuple(found)


def work_of(node: onnx.NodeProto, known: Mapping[str, Known], makers: Mapping[str, onnx.NodeProto]) -> Work | None:
    """The work of one node of the main graph, in which `makers` has who makes each value; None where it has none."""
    if is_ours(node):
        return _ours(node, known)
    if _formula(node) is None:
        return None
    return Work(node.name, node.op_type, _operand_type(node, known, makers), _macs(node, known))


def _inside(graph: onnx.GraphProto, known: Mapping[str, Known]) -> Iterator[Work]:
    around = {**known, **{tensor.name: Known(tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer}}
    for node in graph.node:
        if _formula(node) is not None:
            types = (around[name].dtype for name in node.input if name in around and around[name].dtype in _NUMBERS)
            yield Work(node.name, node.op_type, next(types, 0), None)
        for inner in subgraphs(node):
            yield from _inside(inner, around)


def _formula(node: onnx.NodeProto) -> Formula | None:
    return _FORMULAS.get(node.op_type) if node.domain in ONNX_DOMAINS else None


def _macs(node: onnx.NodeProto, known: Mapping[str, Known]) -> int | None:
    formula = _FORMULAS[node.op_type]
    shapes = [_shape(known, name) for name in node.input]
    made = [_shape(known, name) for name in node.output]
    try:
        return formula(node, shapes, made)
    except (TypeError, IndexError):  # a shape that is not known, or not of the rank that the operator has
        return None


def _operand_type(node: onnx.NodeProto, known: Mapping[str, Known], makers: Mapping[str, onnx.NodeProto]) -> int:
    """The type of the first operand; where both come out of a DequantizeLinear, the one that they are quantized to."""
    pair = [makers.get(name) for name in node.input[:2]]
    dequantized = [maker for maker in pair if maker is not None and maker.op_type == "DequantizeLinear"]
    name = dequantized[0].input[0] if len(dequantized) == 2 else node.input[0]
    found = known.get(name)
    return found.dtype if found else 0


def _ours(node: onnx.NodeProto, known: Mapping[str, Known]) -> Work:
    types = {name: item.dtype for name, item in known.items()}
    made = made_by(node, types, {name: item.shape for name, item in known.items() if item.shape is not None})
    return Work(node.name, node.op_type, made.dtype if made else 0, made.macs if made else None)


def _shape(known: Mapping[str, Known], name: str) -> Any:
    found = known.get(name)
    return found.shape if found else None


def _conv(node: onnx.NodeProto, inputs: list[Any], outputs: list[Any]) -> int:
    """Y [N,M,…] takes C/group * kernel products an element; W is [M,C/group,kernel…]."""
    return int(math.prod(outputs[0]) * math.prod(inputs[1][1:]))


def _conv_transpose(node: onnx.NodeProto, inputs: list[Any], outputs: list[Any]) -> int:
    """Every element of X [N,C,…] goes into M/group * kernel others; W is [C,M/group,kernel…]."""
    return int(math.prod(inputs[0]) * math.prod(inputs[1][1:]))


def _matmul(node: onnx.NodeProto, inputs: list[Any], outputs: list[Any]) -> int:
    return int(math.prod(outputs[0]) * inputs[0][-1])


def _gemm(node: onnx.NodeProto, inputs: list[Any], outputs: list[Any]) -> int:
    turned = next((item.i for item in node.attribute if item.name == "transA"), 0)
    return int(math.prod(outputs[0]) * inputs[0][0 if turned else 1])


def _recurrent(node: onnx.NodeProto, inputs: list[Any], outputs: list[Any]) -> int:
    """T steps of N rows through W [dirs,gates*H,I] and R [dirs,gates*H,H]; either layout has T and N in front."""
    steps, batch, _ = inputs[0]
    return int(steps * batch * (math.prod(inputs[1]) + math.prod(inputs[2])))


def _attention(node: onnx.NodeProto, inputs: list[Any], outputs: list[Any]) -> int:
    """Q against S keys and the weights against S values, of all heads; S counts those of the past too."""
    heads = next((item.i for item in node.attribute if item.name == "q_num_heads"), 0)
    query, key, value = inputs[:3]
    past = inputs[4][2] if len(inputs) > 4 and inputs[4] is not None else 0
    if len(node.input) > 4 and node.input[4] and inputs[4] is None:
        raise TypeError("a past of unknown length")
    if len(query) == 4:
        batch, heads, rows, size = query
        return int(batch * heads * rows * (key[2] + past) * (size + value[3]))
    kv_heads = next((item.i for item in node.attribute if item.name == "kv_num_heads"), heads)
    if kv_heads < 1:
        raise TypeError("an unknown number of heads")
    batch, rows, wide = query
    return int(batch * rows * (key[1] + past) * (wide + heads * value[2] // kv_heads))


_FORMULAS: dict[str, Formula] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Attention": _attention,
    **dict.fromkeys(KINDS, _recurrent),
}
