"""FP32 -> explicit 8-bit: Q/DQ in front of layers, weights stored in 8 bits with a DequantizeLinear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from edgekit.quantize.placement import Layer, Skip
from edgekit.quantize.scales import LARGEST_FP8, LEVELS, quantize_fp8, quantize_weight, scale_of, spread
from edgekit.quantize.weights import Levels, add_dequantized
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import Names
from edgekit.rewrite.sort_nodes import sort_nodes
from edgekit.rewrite.unread import drop_unread


@dataclass(frozen=True)
class Form:
    """How the eight bits are used.

    One scale a channel or one a weight; on FP16's grid where the rest will be FP16; int8, or `float8` for E4M3; weights
    scaled by their largest value or, with `fit` mse, by the least squared error.
    """

    per_channel: bool = True
    half: bool = False
    float8: bool = False
    fit: str = "max"

    @property
    def levels(self) -> int:
        """The largest number that the eight bits hold."""
        return LARGEST_FP8 if self.float8 else LEVELS

    def weight(self, values: npt.NDArray[np.float32], axis: int) -> Levels:
        """Eight-bit values and their scales."""
        along = axis if self.per_channel else None
        if self.float8:
            return quantize_fp8(values, along, half=self.half)
        return quantize_weight(values, along, half=self.half, fit=self.fit)


def rounding_error(weight: npt.NDArray[np.float32], levels: Levels, axis: int) -> npt.NDArray[np.float32]:
    """What the rounding takes away: W - Wq."""
    values, scale = levels
    steps = spread(scale, axis if scale.ndim else None, weight.ndim)
    lost: npt.NDArray[np.float32] = weight - values.astype(np.float32) * steps
    return lost


def insert_qdq(
    model: onnx.ModelProto,
    layers: list[Layer],
    ranges: Mapping[str, float],
    levels: Mapping[str, Levels],
    form: Form = Form(),
    skips: Sequence[Skip] = (),
) -> PassResult:
    """Quantize `layers` in place.

    1. Each activation that a layer reads gets one QuantizeLinear/DequantizeLinear pair, shared by its readers; other
       readers of the tensor keep the original.
    2. Each weight becomes an initializer of 8 bits with its scales and a DequantizeLinear; a weight that another node
       reads too stays for that one.
    3. The inputs of residual adds named in `skips` read the pair of their tensor too.
    4. Biases are left alone: TensorRT folds them itself and refuses quantized ones.

    `ranges` has the |x| up to which each activation is covered, `levels` the weight of each layer.
    """
    names = Names(model)
    nodes = {node.name: node for node in model.graph.node}
    activations = {
        tensor: add_pair(model.graph, tensor, ranges[tensor], form, names)
        for tensor in dict.fromkeys([*(layer.activation for layer in layers), *(skip.tensor for skip in skips)])
    }
    dequantized: dict[tuple[str, int], str] = {}
    for layer in layers:
        # Layers that read one weight share what stands in for it, unless it was rounded for the inputs of one of them.
        key = (layer.weight, id(levels[layer.node][0]))
        if key not in dequantized:
            stem, attributes = f"{layer.weight}_{layer.axis}", {"axis": layer.axis} if form.per_channel else {}
            dequantized[key] = add_dequantized(model.graph, stem, levels[layer.node], names, attributes)
        nodes[layer.node].input[0] = activations[layer.activation]
        nodes[layer.node].input[1] = dequantized[key]
    for skip in skips:
        nodes[skip.node].input[skip.index] = activations[skip.tensor]
    return drop_unread(sort_nodes(model).model)


def add_pair(graph: onnx.GraphProto, tensor: str, covered: float, form: Form, names: Names) -> str:
    """Add a Q/DQ pair behind `tensor`; return what comes out of it."""
    scale = scale_of(np.asarray(covered, np.float32), half=form.half, levels=form.levels)
    parameters = [names(f"{tensor}_scale"), names(f"{tensor}_zero")]
    quantized, out = names(f"{tensor}_q"), names(f"{tensor}_dq")
    zero = (
        onnx.helper.make_tensor(parameters[1], onnx.TensorProto.FLOAT8E4M3FN, [], [0.0])
        if form.float8
        else onnx.numpy_helper.from_array(np.asarray(0, np.int8), parameters[1])
    )
    graph.initializer.extend([onnx.numpy_helper.from_array(np.asarray(scale), parameters[0]), zero])
    graph.node.extend(
        [
            _node("QuantizeLinear", [tensor, *parameters], quantized),
            _node("DequantizeLinear", [quantized, *parameters], out),
        ]
    )
    return out


def _node(op_type: str, inputs: list[str], output: str) -> onnx.NodeProto:
    return onnx.helper.make_node(op_type, inputs, [output], name=output)
