"""FP32 -> explicit INT8: Q/DQ in front of layers, weights stored as int8 with a DequantizeLinear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from edgekit.quantize.placement import Layer
from edgekit.quantize.scales import quantize_weight, scale_of
from edgekit.quantize.weights import add_dequantized, finite_values
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import Names
from edgekit.rewrite.sort_nodes import sort_nodes
from edgekit.rewrite.unread import drop_unread


@dataclass(frozen=True)
class Form:
    """How scales are written: one a channel or one a weight, and on FP16's grid where the rest will be FP16."""

    per_channel: bool = True
    half: bool = False


def insert_qdq(
    model: onnx.ModelProto, layers: list[Layer], largest: dict[str, float], form: Form = Form()
) -> PassResult:
    """Quantize `layers` in place.

    1. Each activation that a layer reads gets one QuantizeLinear/DequantizeLinear pair, shared by its readers; other
       readers of the tensor keep the original.
    2. Each weight becomes an int8 initializer with its scales and a DequantizeLinear; a weight that another node reads
       too stays for that one.
    3. Biases are left alone: TensorRT folds them itself and refuses quantized ones.

    Raises QuantizeError for a weight that is not finite.
    """
    names = Names(model)
    nodes = {node.name: node for node in model.graph.node}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    activations = {
        tensor: _add_activation(model.graph, tensor, scale_of(np.float32(largest[tensor]), half=form.half), names)
        for tensor in dict.fromkeys(layer.activation for layer in layers)
    }
    dequantized = {
        key: _add_weight(model.graph, weights[key[0]], key[1], form, names)
        for key in dict.fromkeys((layer.weight, layer.axis) for layer in layers)
    }
    for layer in layers:
        nodes[layer.node].input[0] = activations[layer.activation]
        nodes[layer.node].input[1] = dequantized[layer.weight, layer.axis]
    return drop_unread(sort_nodes(model).model)


def _add_activation(graph: onnx.GraphProto, tensor: str, scale: object, names: Names) -> str:
    """Add the pair; return what comes out of it."""
    parameters = [names(f"{tensor}_scale"), names(f"{tensor}_zero")]
    quantized, out = names(f"{tensor}_q"), names(f"{tensor}_dq")
    graph.initializer.extend([_tensor(scale, parameters[0]), _tensor(np.int8(0), parameters[1])])
    graph.node.extend(
        [
            _node("QuantizeLinear", [tensor, *parameters], quantized),
            _node("DequantizeLinear", [quantized, *parameters], out),
        ]
    )
    return out


def _add_weight(graph: onnx.GraphProto, weight: onnx.TensorProto, axis: int, form: Form, names: Names) -> str:
    """Store the weight as int8; return what stands in for it."""
    levels = quantize_weight(finite_values(weight), axis if form.per_channel else None, half=form.half)
    return add_dequantized(graph, f"{weight.name}_{axis}", levels, names, {"axis": axis} if form.per_channel else {})


def _node(op_type: str, inputs: list[str], output: str) -> onnx.NodeProto:
    return onnx.helper.make_node(op_type, inputs, [output], name=output)


def _tensor(value: object, name: str) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.asarray(value), name)
