"""SmoothQuant: move the outliers of an activation into the weights that read it, where they cost less.

The input [..., I] of a product is divided by s [I], the rows of its weight [I, O] are multiplied by it: the result is
the same. s_i = a_i^alpha / w_i^(1 - alpha), with a_i the largest |x| of channel i and w_i the largest |w| of its row in
all weights that read the tensor, then scaled to a geometric mean of 1.

Source: Xiao et al., "SmoothQuant", arXiv 2211.10438, equation 4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from edgekit.quantize.observers import Channels, Seen, Statistics
from edgekit.quantize.placement import Layer
from edgekit.quantize.weights import add_constant
from edgekit.rewrite.names import Names
from edgekit.rewrite.sort_nodes import names_used

Vector = npt.NDArray[np.float32]

# A channel that was never seen alive must not make the others' share explode.
_LEAST_ACTIVATION, _LEAST_WEIGHT, _LEAST_FACTOR = 1e-5, 1e-5, 1e-3


@dataclass(frozen=True)
class Smoothed:
    """The layers as they read now, and what would have been seen of their new inputs."""

    layers: list[Layer]
    statistics: Statistics


def can_smooth(layer: Layer, model: onnx.ModelProto) -> bool:
    """Products with a weight of two axes; a convolution has outliers of its own kind."""
    dims = next((tensor.dims for tensor in model.graph.initializer if tensor.name == layer.weight), ())
    return layer.op_type in ("MatMul", "Gemm") and len(dims) == 2


def smooth(
    model: onnx.ModelProto, layers: list[Layer], statistics: Statistics, alpha: float, everyone: Sequence[Layer]
) -> Smoothed:
    """Rewrite `model` in place.

    1. Layers that read one tensor share its s. It follows from the weights of `everyone`, so that it stays the same
       when some of them are not among `layers`.
    2. Where nothing else reads the tensor and a LayerNormalization makes it, s goes into that one's scale and bias;
       otherwise a Mul by 1 / s stands before the layers.
    3. Weights get new initializers: who else reads them keeps the old ones.
    4. Where a convolution reads the tensor too, and so other channels were looked at, or nothing was seen, layers stay.
    """
    names = Names(model)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = {node.name: node for node in model.graph.node}
    groups, together = (_by_activation(some, model) for some in (layers, everyone))
    before = {layer.node: layer.activation for layer in everyone}
    changed: dict[str, Layer] = {}
    seen = dict(statistics.tensors)
    for tensor, readers in groups.items():
        channels = statistics.tensors[tensor].channels
        if channels is None or channels.axis != readers[0].channels:
            continue
        values = {layer.node: onnx.numpy_helper.to_array(weights[layer.weight]) for layer in readers}
        mates = together[before[readers[0].node]]
        rows = [_rows(onnx.numpy_helper.to_array(weights[layer.weight]), layer) for layer in mates]
        factors = factors_of(channels.largest, rows, alpha)
        smoothed = _divide(model.graph, tensor, factors, {layer.node for layer in readers}, names)
        for layer in readers:
            weight = names(f"{layer.weight}_smooth")
            spread = factors[:, None] if layer.axis == 1 else factors[None, :]
            add_constant(model.graph, weight, values[layer.node] * spread)
            nodes[layer.node].input[0], nodes[layer.node].input[1] = smoothed, weight
            changed[layer.node] = dataclasses.replace(layer, activation=smoothed, weight=weight)
        seen[smoothed] = seen_after(channels.divided(factors))
    return Smoothed([changed.get(layer.node, layer) for layer in layers], Statistics(seen))


def _by_activation(layers: Sequence[Layer], model: onnx.ModelProto) -> dict[str, list[Layer]]:
    groups: dict[str, list[Layer]] = {}
    for layer in layers:
        if can_smooth(layer, model):
            groups.setdefault(layer.activation, []).append(layer)
    return groups


def factors_of(activations: Vector, rows: list[Vector], alpha: float) -> Vector:
    """s [I] from the largest |x| of each channel [I] and the largest |w| of each row [I] of all weights."""
    largest = np.maximum(activations.astype(np.float64), _LEAST_ACTIVATION)
    weight = np.maximum(np.max(rows, axis=0).astype(np.float64), _LEAST_WEIGHT)
    factors = largest**alpha / weight ** (1 - alpha)
    factors = np.maximum(factors / np.exp(np.log(factors).mean()), _LEAST_FACTOR)
    share: Vector = factors.astype(np.float32)
    return share


def _rows(weight: Vector, layer: Layer) -> Vector:
    """The largest |w| that meets each input channel, [I]."""
    rows: Vector = np.abs(weight).max(axis=layer.axis)
    return rows


def seen_after(channels: Channels) -> Seen:
    """What the divided tensor has shown; its histogram is not known, so that its range is the largest value."""
    return Seen(float(channels.largest.max()), None, channels)


def _divide(graph: onnx.GraphProto, tensor: str, factors: Vector, readers: set[str], names: Names) -> str:
    """Make tensor / s for input 0 of the readers; return its name."""
    norm = foldable_norm(graph, tensor, readers, len(factors))
    if norm is not None:
        constants = {item.name: item for item in graph.initializer}
        for index, name in list(enumerate(norm.input))[1:]:
            divided = onnx.numpy_helper.to_array(constants[name]) / factors
            norm.input[index] = add_constant(graph, names(f"{name}_smooth"), divided)
        return tensor
    inverse = add_constant(graph, names(f"{tensor}_smooth_by"), 1 / factors)
    out = names(f"{tensor}_smooth")
    graph.node.append(onnx.helper.make_node("Mul", [tensor, inverse], [out], name=out))
    return out


def foldable_norm(graph: onnx.GraphProto, tensor: str, readers: set[str], size: int) -> onnx.NodeProto | None:
    """The LayerNormalization that makes `tensor` for these readers alone, with a constant scale and bias of `size`."""
    norm = next((node for node in graph.node if tensor in node.output), None)
    used = [(node.name, list(names_used(node))) for node in graph.node]
    # A Gemm may read the tensor a second time, as its bias.
    others = any(tensor in (read[1:] if name in readers else read) for name, read in used)
    if norm is None or norm.op_type != "LayerNormalization" or others:
        return None
    dims = {item.name: list(item.dims) for item in graph.initializer}
    constant = all(dims.get(name) == [size] for name in list(norm.input)[1:])
    return norm if constant and all(value.name != tensor for value in graph.output) else None
