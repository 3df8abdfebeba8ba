"""FP32 -> explicit INT8: Q/DQ in front of layers, weights stored as int8 with a DequantizeLinear."""

from __future__ import annotations

import numpy as np
import onnx

from edgekit.quantize.placement import Layer
from edgekit.quantize.scales import quantize_weight, scale_of
from edgekit.rewrite import PassResult
from edgekit.rewrite.sort_nodes import sort_nodes
from edgekit.rewrite.unread import drop_unread


def insert_qdq(
    model: onnx.ModelProto, layers: list[Layer], largest: dict[str, float], *, per_channel: bool = True
) -> PassResult:
    """Quantize `layers` in place.

    1. Each activation that a layer reads gets one QuantizeLinear/DequantizeLinear pair, shared by its readers; other
       readers of the tensor keep the original.
    2. Each weight becomes an int8 initializer with its scales and a DequantizeLinear; a weight that another node reads
       too stays for that one.
    3. Biases are left alone: TensorRT folds them itself and refuses quantized ones.
    """
    graph = model.graph
    nodes = {node.name: node for node in graph.node}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for tensor in dict.fromkeys(layer.activation for layer in layers):
        scale = scale_of(np.float32(largest[tensor]))
        graph.initializer.extend([_tensor(scale, tensor + "_scale"), _tensor(np.int8(0), tensor + "_zero")])
        parameters = [tensor + "_scale", tensor + "_zero"]
        graph.node.extend(
            [
                _node("QuantizeLinear", [tensor, *parameters], tensor + "_q"),
                _node("DequantizeLinear", [tensor + "_q", *parameters], tensor + "_dq"),
            ]
        )
    for weight, axis in dict.fromkeys((layer.weight, layer.axis) for layer in layers):
        values, scale = quantize_weight(onnx.numpy_helper.to_array(weights[weight]), axis if per_channel else None)
        name = f"{weight}_{axis}"
        zero = np.zeros(scale.shape, np.int8)
        graph.initializer.extend(
            [_tensor(values, name + "_int8"), _tensor(scale, name + "_scale"), _tensor(zero, name + "_zero")]
        )
        node = _node("DequantizeLinear", [name + "_int8", name + "_scale", name + "_zero"], name + "_dq")
        if per_channel:
            node.attribute.append(onnx.helper.make_attribute("axis", axis))
        graph.node.append(node)
    for layer in layers:
        nodes[layer.node].input[0] = layer.activation + "_dq"
        nodes[layer.node].input[1] = f"{layer.weight}_{layer.axis}_dq"
    return drop_unread(sort_nodes(model).model)


def _node(op_type: str, inputs: list[str], output: str) -> onnx.NodeProto:
    return onnx.helper.make_node(op_type, inputs, [output], name=output)


def _tensor(value: object, name: str) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.asarray(value), name)
