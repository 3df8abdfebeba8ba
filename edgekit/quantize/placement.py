"""Where Q/DQ may stand, by TensorRT's rules for explicit quantization.

* Inputs and weights of Conv, ConvTranspose, Gemm, and MatMul with a constant weight; nothing on LayerNorm, Softmax,
  bias or the two products inside attention, which stay in floating point.
* Activations: one scale a tensor. Weights: one scale an output channel, which is axis 0 of a Conv, axis 1 of an
  ungrouped ConvTranspose, the last axis of a MatMul, axis 0 or 1 of a Gemm by `transB`.
* Symmetric int8, zero point 0.

Source: NVIDIA TensorRT documentation, "Working with Quantized Types", explicit quantization.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

_OP_TYPES = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Layer:
    """A node to quantize: its input tensor, its weight initializer, and the weight's output-channel axis."""

    node: str
    op_type: str
    activation: str
    weight: str
    axis: int

    @property
    def channels(self) -> int:
        """The channel axis of the input: 1 of [N,C,...], the last of [...,C]."""
        return 1 if self.op_type in ("Conv", "ConvTranspose") else -1


@dataclass(frozen=True)
class Skip:
    """Input number `index` of the Add `node`: the branch that goes around `layer`, a convolution."""

    node: str
    index: int
    tensor: str
    layer: str


def residual_skips(model: onnx.ModelProto, layers: list[Layer]) -> list[Skip]:
    """The inputs of residual adds that TensorRT wants quantized, to fuse the Add into the convolution before it.

    A batch norm may stand between the two. Where both inputs come from convolutions, the second one is fused.

    Source: NVIDIA TensorRT documentation, "Q/DQ Placement Recommendations": quantize the residual input in skip
    connections.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name for tensor in model.graph.initializer}
    convolutions = {layer.node for layer in layers if layer.op_type in ("Conv", "ConvTranspose")}
    skips = []
    for node in model.graph.node:
        if node.op_type != "Add" or constants.intersection(node.input) or node.input[0] == node.input[1]:
            continue
        for index in (1, 0):
            maker = makers.get(node.input[index])
            while maker is not None and maker.op_type == "BatchNormalization":
                maker = makers.get(maker.input[0])
            if maker is not None and maker.name in convolutions:
                skips.append(Skip(node.name, 1 - index, node.input[1 - index], maker.name))
                break
    return skips


def layer_weights(model: onnx.ModelProto) -> list[str]:
    """The names of what could be weights of layers, whatever makes them."""
    return [node.input[1] for node in model.graph.node if _could_be_layer(node)]


def quantizable_layers(model: onnx.ModelProto) -> tuple[list[Layer], list[str]]:
    """Return the layers and, for each node of these types that is left alone, a line that says why."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    layers, left = [], []
    for node in model.graph.node:
        if not _could_be_layer(node):
            continue
        weight = weights.get(node.input[1])
        reason = _reason_to_leave(node, weight)
        if reason or weight is None:
            left.append(f"{node.op_type} {node.name!r} stays in floating point: {reason}")
            continue
        axis = _output_axis(node, len(weight.dims))
        layers.append(Layer(node.name, node.op_type, node.input[0], node.input[1], axis))
    return layers, left


def _could_be_layer(node: onnx.NodeProto) -> bool:
    return node.op_type in _OP_TYPES and node.domain in ("", "ai.onnx")


def _reason_to_leave(node: onnx.NodeProto, weight: onnx.TensorProto | None) -> str:
    if weight is None:
        return "its second input is no constant"
    if weight.data_type != onnx.TensorProto.FLOAT:
        return "its weight is not FP32"
    if node.op_type == "ConvTranspose" and _attribute(node, "group", 1) != 1:
        return "a grouped ConvTranspose has no output-channel axis of its own"
    if node.op_type == "Gemm" and _attribute(node, "transA", 0):
        return "its input is transposed"
    if node.op_type == "MatMul" and len(weight.dims) < 2:
        return "its weight is a vector"
    return ""


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(item.i) for item in node.attribute if item.name == name), default)


def _output_axis(node: onnx.NodeProto, rank: int) -> int:
    if node.op_type == "Gemm":
        return 0 if _attribute(node, "transB", 0) else 1
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": rank - 1}[node.op_type]
