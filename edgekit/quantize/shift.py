"""Shift the channels of an activation to the middle of their ranges, where that costs nothing at run time.

int8 of TensorRT is symmetric: what runs from -0.2 to 7, as behind a GELU or SiLU, leaves half of the levels unused. So
z is taken away from the activation, per channel, and W z is added to the bias of the layers that read it: the result is
the same, and the range half as large.

Source: Wei et al., "Outlier Suppression+", arXiv 2304.09145, section 4.1: channel-wise shifting, z = (max + min) / 2.

It is done only

1. for products, and for convolutions without padding: a padded zero would not be shifted;
2. where the activation comes from a LayerNormalization, into whose bias z goes, or is an input of the model or comes
   from an elementwise operator, a mean or a softmax, so that TensorRT fuses one more Sub. Behind a Relu or an addition
   a Sub would break up the fusion with the convolution before;
3. where the range becomes a tenth smaller at the least.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx

from edgekit.quantize.bias import add_to_output, lost, takes_bias
from edgekit.quantize.observers import Channels, Statistics
from edgekit.quantize.placement import Layer
from edgekit.quantize.smooth import Smoothed, foldable_norm, seen_after
from edgekit.quantize.weights import add_constant, finite_values
from edgekit.rewrite.names import Names

_MAKERS = {"LayerNormalization", "Mul", "Sigmoid", "Tanh", "Gelu", "Mish", "HardSwish", "Softmax", "Softplus"}
_MAKERS |= {"ReduceMean", "GlobalAveragePool"}
_MOVES = {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Transpose"}
_WORTH = 0.9


def shift(model: onnx.ModelProto, layers: list[Layer], statistics: Statistics) -> Smoothed:
    """Rewrite `model` in place; return the layers as they read now, and what would have been seen of their inputs."""
    names = Names(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = {node.name: node for node in model.graph.node}
    seen = dict(statistics.tensors)
    changed: dict[str, Layer] = {}
    for tensor, readers in _groups(model, layers, statistics).items():
        channels = statistics.tensors[tensor].channels
        assert channels is not None
        middle = ((channels.low + channels.high) / 2).astype(np.float32)
        for layer in readers:
            added = lost(finite_values(constants[layer.weight]), middle.astype(np.float64), layer)
            assert added is not None  # _groups asked
            add_to_output(model.graph, nodes[layer.node], added, constants, names)
        shifted = _taken_away(model.graph, tensor, middle, readers, names)
        for layer in readers:
            nodes[layer.node].input[0] = shifted
            changed[layer.node] = dataclasses.replace(layer, activation=shifted)
        seen[shifted] = seen_after(channels.moved(middle))
    return Smoothed([changed.get(layer.node, layer) for layer in layers], Statistics(seen))


def can_shift(model: onnx.ModelProto, layers: Sequence[Layer], statistics: Statistics) -> bool:
    """Whether there is any activation to shift."""
    return bool(_groups(model, layers, statistics))


def _groups(model: onnx.ModelProto, layers: Sequence[Layer], statistics: Statistics) -> dict[str, list[Layer]]:
    """The readers that can be shifted, by the tensor that they read."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = {node.name: node for node in model.graph.node}
    makers = {name: node for node in model.graph.node for name in node.output}
    inputs = {value.name for value in model.graph.input}
    groups: dict[str, list[Layer]] = {}
    for layer in layers:
        channels, node = statistics.tensors[layer.activation].channels, nodes[layer.node]
        free = layer.activation in inputs or _is_free(layer.activation, makers)
        if channels is None or not free or not _is_worth_it(channels):
            continue
        weight = constants[layer.weight]
        outputs = weight.dims[layer.axis]
        fits = channels.axis == layer.channels and _has_known_shift(layer, list(weight.dims), len(channels.low))
        if fits and _is_unpadded(node) and takes_bias(node, outputs, constants):
            groups.setdefault(layer.activation, []).append(layer)
    return groups


def _is_free(tensor: str, makers: dict[str, onnx.NodeProto]) -> bool:
    maker = makers.get(tensor)
    while maker is not None and maker.op_type in _MOVES:
        maker = makers.get(maker.input[0])
    return maker is not None and maker.op_type in _MAKERS


def _is_worth_it(channels: Channels) -> bool:
    before, after = float(channels.largest.max()), float((channels.high - channels.low).max()) / 2
    return after < _WORTH * before


def _has_known_shift(layer: Layer, dims: list[int], channels: int) -> bool:
    """Whether W z is defined: see `lost`."""
    if layer.op_type == "Conv":
        return channels % dims[1] == 0 and dims[0] % (channels // dims[1]) == 0
    return layer.op_type in ("Gemm", "MatMul") and len(dims) == 2


def _is_unpadded(node: onnx.NodeProto) -> bool:
    if node.op_type != "Conv":
        return True
    given = {item.name: item for item in node.attribute}
    by_itself = given["auto_pad"].s if "auto_pad" in given else b"NOTSET"
    return by_itself in (b"NOTSET", b"VALID") and not any(given["pads"].ints if "pads" in given else ())


def _taken_away(
    graph: onnx.GraphProto, tensor: str, middle: npt.NDArray[np.float32], readers: list[Layer], names: Names
) -> str:
    """Make tensor - z; return its name."""
    norm = foldable_norm(graph, tensor, {layer.node for layer in readers}, len(middle))
    if norm is not None and len(norm.input) > 2:
        bias = next(item for item in graph.initializer if item.name == norm.input[2])
        moved = onnx.numpy_helper.to_array(bias) - middle
        norm.input[2] = add_constant(graph, names(f"{bias.name}_shift"), moved)
        return tensor
    conv = readers[0].op_type == "Conv"
    rank = len(next(item for item in graph.initializer if item.name == readers[0].weight).dims)
    spread = middle.reshape(-1, *([1] * (rank - 2))) if conv else middle
    out = names(f"{tensor}_shift")
    taken = add_constant(graph, names(f"{tensor}_shift_by"), spread)
    graph.node.append(onnx.helper.make_node("Sub", [tensor, taken], [out], name=out))
    return out
