"""Where a model attends: its Attention nodes, and each product, softmax and second product that stands for one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from edgekit.rewrite.names import ONNX_DOMAINS

# What may stand between the products and the softmax: scaling, masks, casts, quantization, and moves.
_BETWEEN = {"Add", "Sub", "Mul", "Div", "Where", "Cast", "CastLike", "Dropout", "Identity", "Tanh"}
_BETWEEN |= {"QuantizeLinear", "DequantizeLinear", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Expand", "Max"}
_MOST_STEPS = 12


@dataclass(frozen=True)
class AttentionBlock:
    """The nodes of one block by name: `softmax` is the Attention node itself where there is one."""

    softmax: str
    first: str
    second: str

    @property
    def is_node(self) -> bool:
        """Whether it is one Attention node."""
        return not self.first


def attention_blocks(model: onnx.ModelProto) -> tuple[AttentionBlock, ...]:
    """All blocks of the main graph, in its order; the nodes must have names."""
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = []
    for node in graph.node:
        if node.domain not in ONNX_DOMAINS:
            continue
        if node.op_type == "Attention":
            found.append(AttentionBlock(node.name, "", ""))
        elif node.op_type == "Softmax":
            first, second = _product(_before(node, makers)), _product(_after(node, readers))
            if first and second:
                found.append(AttentionBlock(node.name, first, second))
    return tuple(found)


def _before(node: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes behind which the softmax stands, nearest first, as far as only such between them lie."""
    front = [node]
    for _ in range(_MOST_STEPS):
        front = [makers[name] for item in front for name in item.input if name in makers]
        yield from front
        front = [item for item in front if item.op_type in _BETWEEN]


def _after(node: onnx.NodeProto, readers: dict[str, list[onnx.NodeProto]]) -> Iterator[onnx.NodeProto]:
    front = [node]
    for _ in range(_MOST_STEPS):
        front = [reader for item in front for name in item.output for reader in readers.get(name, [])]
        yield from front
        front = [item for item in front if item.op_type in _BETWEEN]


def _product(nodes: Iterator[onnx.NodeProto]) -> str:
    """The nearest product of two tensors."""
    return next((node.name for node in nodes if node.op_type in ("MatMul", "Einsum")), "")
