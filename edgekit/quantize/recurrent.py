"""INT8 weights for LSTM, GRU and RNN; activations and arithmetic stay in floating point.

Each row of a gate in W [D,GH,I] and R [D,GH,H] has a scale of its own, written as the blocked DequantizeLinear of opset
21: axis 2, one block a row, scales [D,GH,1]. onnxruntime runs that form and TensorRT-RTX builds it; scales of two axes
are refused by the one or crash the other. Biases stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from edgekit.quantize.scales import quantize_rows
from edgekit.quantize.weights import add_dequantized, finite_values
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import Names
from edgekit.rewrite.sort_nodes import sort_nodes
from edgekit.rewrite.unread import drop_unread

OPSET = 21
_OP_TYPES = ("LSTM", "GRU", "RNN")
_WEIGHTS = (1, 2)  # W and R among the inputs


def has_recurrent(model: onnx.ModelProto, keep_ops: tuple[str, ...]) -> bool:
    """Whether there is a recurrent node whose weights could be INT8."""
    return bool(_nodes(model, keep_ops))


@dataclass(frozen=True)
class Quantized:
    """`layers` recurrent nodes got INT8 weights."""

    result: PassResult
    layers: int


def recurrent_weights(model: onnx.ModelProto, keep_ops: tuple[str, ...]) -> list[str]:
    """The names of W and R, whatever makes them."""
    return [node.input[index] for node in _nodes(model, keep_ops) for index in _WEIGHTS]


def quantize_recurrent(model: onnx.ModelProto, keep_ops: tuple[str, ...]) -> Quantized:
    """Quantize W and R of all recurrent nodes of the main graph, in place, but for the types in `keep_ops`.

    1. A weight that is no FP32 initializer is left alone, and the notes say so.
    2. A weight of one row, or of one value a row, stays without a word: it is tiny, and TensorRT-RTX refuses it.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    done: dict[str, str] = {}
    free = Names(model)
    layers, notes = 0, []
    for node in _nodes(model, keep_ops):
        names = {index: node.input[index] for index in _WEIGHTS}
        if not all(name in weights and weights[name].data_type == onnx.TensorProto.FLOAT for name in names.values()):
            notes.append(f"{node.op_type} {node.name!r} stays in floating point: its weights are no FP32 constants")
            continue
        wide = {index: name for index, name in names.items() if min(weights[name].dims[1:]) > 1}
        for index, name in wide.items():
            if name not in done:
                values, scale = quantize_rows(finite_values(weights[name]))
                one_block_a_row = {"axis": 2, "block_size": values.shape[-1]}
                done[name] = add_dequantized(model.graph, name, (values, scale), free, one_block_a_row)
            node.input[index] = done[name]
        layers += bool(wide)
    ready = drop_unread(sort_nodes(model).model).model
    return Quantized(PassResult(ready, layers > 0, tuple(notes)), layers)


def _nodes(model: onnx.ModelProto, keep_ops: tuple[str, ...]) -> list[onnx.NodeProto]:
    asked = set(_OP_TYPES) - set(keep_ops)
    return [node for node in model.graph.node if node.op_type in asked and node.domain in ("", "ai.onnx")]
