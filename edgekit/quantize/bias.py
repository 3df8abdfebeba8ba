"""Analytic bias correction: rounding the weights shifts the mean of each output channel by a known amount.

The shift is (W - Wq) E[x], with E[x] the mean of each input channel on the calibration data; it goes into the bias. No
further run is needed. Padding is taken to look like the rest of the picture.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv 1906.04721,
section 4.2, with measured means in the place of assumed ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgekit.quantize.observers import Statistics
from edgekit.quantize.placement import Layer
from edgekit.quantize.weights import add_constant
from edgekit.rewrite.names import Names
from edgekit.rewrite.sort_nodes import names_used

Vector = npt.NDArray[np.float64]


def correct_bias(
    model: onnx.ModelProto, layers: list[Layer], statistics: Statistics, errors: dict[str, npt.NDArray[np.float32]]
) -> None:
    """Add to the biases of `layers` what their rounded weights lose on average; in place.

    `errors` is W - Wq by node. A Conv or Gemm gets it in its own bias; a MatMul in the Add of a constant that follows
    it, or in a new one. A ConvTranspose stays, and so does a layer whose bias is computed or scaled, or of whose input
    no channels were seen, or others than its own: those of a convolution that reads the tensor too.
    """
    names = Names(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = {node.name: node for node in model.graph.node}
    for layer in layers:
        channels = statistics.tensors[layer.activation].channels
        if channels is None or channels.axis != layer.channels:
            continue
        shift = lost(errors[layer.node], channels.mean(), layer)
        if shift is None or not shift.any():
            continue
        add_to_output(model.graph, nodes[layer.node], shift, constants, names)


def takes_bias(node: onnx.NodeProto, size: int, constants: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether something can be added to the `size` output channels of a layer: not to a bias that is computed."""
    if node.op_type == "MatMul":
        return True
    scaled = any(item.name in ("alpha", "beta") and item.f != 1.0 for item in node.attribute)
    bias = node.input[2] if len(node.input) > 2 else ""
    return not scaled and (not bias or (bias in constants and list(constants[bias].dims) == [size]))


def add_to_output(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    added: Vector,
    constants: Mapping[str, onnx.TensorProto],
    names: Names,
) -> None:
    """Add [O] to the output channels of a layer, where that can be: see `correct_bias`."""
    if node.op_type == "MatMul":
        _add_after(graph, node, added, constants, names)
    elif takes_bias(node, len(added), constants):
        _add_to_bias(graph, node, added, constants, names)


def lost(error: npt.NDArray[np.float32], means: Vector, layer: Layer) -> Vector | None:
    """(W - Wq) E[x]: the shift of each output channel, [O]; None where it is not known."""
    if layer.op_type == "Conv":
        by_input = error.reshape(*error.shape[:2], -1).sum(axis=2, dtype=np.float64)  # [O, I / groups]
        groups, rest = divmod(len(means), by_input.shape[1])
        if rest or by_input.shape[0] % groups:
            return None
        per_group = by_input.reshape(groups, -1, by_input.shape[1])
        shift: Vector = np.einsum("goi,gi->go", per_group, means.reshape(groups, -1)).reshape(-1)
        return shift
    if layer.op_type in ("Gemm", "MatMul") and error.ndim == 2:
        by_output: Vector = (error if layer.axis == 0 else error.T).astype(np.float64) @ means
        return by_output
    return None


def _add_to_bias(
    graph: onnx.GraphProto, node: onnx.NodeProto, shift: Vector, constants: Mapping[str, onnx.TensorProto], names: Names
) -> None:
    bias = node.input[2] if len(node.input) > 2 else ""
    old: npt.NDArray[Any] = onnx.numpy_helper.to_array(constants[bias]) if bias else np.zeros(len(shift), np.float32)
    corrected = add_constant(graph, names(f"{bias or node.name}_corrected"), old + shift)
    if len(node.input) > 2:
        node.input[2] = corrected
    else:
        node.input.append(corrected)


def _add_after(
    graph: onnx.GraphProto, node: onnx.NodeProto, shift: Vector, constants: Mapping[str, onnx.TensorProto], names: Names
) -> None:
    out = node.output[0]
    readers = [other for other in graph.node if out in names_used(other)]
    if len(readers) == 1 and readers[0].op_type == "Add" and all(value.name != out for value in graph.output):
        index = 1 - list(readers[0].input).index(out)
        bias = constants.get(readers[0].input[index])
        if bias is not None and list(bias.dims) == [len(shift)]:
            values = onnx.numpy_helper.to_array(bias) + shift
            readers[0].input[index] = add_constant(graph, names(f"{bias.name}_corrected"), values)
            return
    before = names(f"{out}_uncorrected")
    node.output[0] = before
    correction = add_constant(graph, names(f"{out}_correction"), shift)
    graph.node.append(onnx.helper.make_node("Add", [before, correction], [out], name=names(f"{out}_corrected")))
