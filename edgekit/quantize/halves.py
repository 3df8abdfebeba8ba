"""What FP16 cannot hold, by what was measured: which nodes stay in FP32, and why.

FP16 ends at 65504. A node stays in FP32 when a tensor that it reads or makes reaches half of that on real data, since
data to come may reach further, and when the squares or sums inside of it would: in a normalization, ReduceMean or
ReduceL2. Masks do not count: a score that is -3.4e38 before a Softmax does the same at -65504.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from edgekit.errors import QuantizeError, first_line
from edgekit.quantize.scales import LARGEST_HALF

LIMIT = float(LARGEST_HALF) / 2
_NORMS = ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization", "LpNormalization")
# What stands between the constant of a mask and the Softmax that it is for.
_MASKING = {
    *("Add", "Sub", "Mul", "Where", "Max", "Min", "Cast", "Identity", "Expand", "Tile", "Pad", "Trilu", "ScatterND"),
    *("Reshape", "Transpose", "Unsqueeze", "Squeeze", "Slice", "Concat", "Gather"),
}
# Their other inputs are bounds and fillings, which do as well at the end of FP16.
_BOUNDED = ("Clip", "Pad")
_Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Kept:
    """The names of the nodes that stay in FP32, and a line for each that says why."""

    nodes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def range_tensors(model: onnx.ModelProto) -> list[str]:
    """The FP32 tensors whose largest |x| decides: inputs and activations of the main graph, but for masks.

    A mask may hold -Inf, which is no sign of a broken model, and an empty tensor has no largest value.
    """
    shapes = float_shapes(model)
    left_out = {tensor.name for tensor in model.graph.initializer} | masked(model)
    made = [value.name for value in model.graph.input] + [name for node in model.graph.node for name in node.output]
    return [name for name in made if name in shapes and name not in left_out and 0 not in shapes[name]]


def too_large_for_half(model: onnx.ModelProto, ranges: Mapping[str, float]) -> Kept:
    """Find the nodes of the main graph; `ranges` has the largest |x| of tensors by name, others are taken to fit.

    Weights are looked at too. Nodes with subgraphs cannot stay alone: of these there is only a line.
    """
    shapes, axes = float_shapes(model), _constant_axes(model)
    reached = _with_weights(model, _with_dequantized(model, ranges))
    nodes, notes = [], []
    for node in model.graph.node:
        names = [*(node.input[:1] if node.op_type in _BOUNDED else node.input), *node.output]
        tensor = max(names, key=lambda name: reached.get(name, 0.0), default="")
        largest, inner = reached.get(tensor, 0.0), _inside(node, reached, shapes, axes)
        said = f"{node.op_type} {node.name!r}"
        if max(largest, inner) <= LIMIT:
            continue
        reason = f"{tensor!r} reaches {largest:g}" if largest > LIMIT else f"its squares or sums reach {inner:g}"
        if any(item.type == onnx.AttributeProto.GRAPH for item in node.attribute):
            notes.append(f"{said} may overflow, since its branches cannot stay in FP32 alone: {reason}")
        else:
            nodes.append(node.name)
            notes.append(f"{said} stays in FP32: {reason}, too near to FP16's end at {LARGEST_HALF:g}")
    return Kept(tuple(nodes), tuple(notes))


def masked(model: onnx.ModelProto) -> set[str]:
    """The tensors that a mask's constant, too large for FP16, goes through on its way into a Softmax or Attention."""
    large = {name for name, tensor in _constants(model) if _largest(tensor) > LIMIT}
    for node in model.graph.node:
        if node.op_type in _MASKING and large.intersection(node.input):
            large.update(node.output)
    behind: set[str] = set()
    for node in reversed(model.graph.node):
        if node.op_type in ("Softmax", "LogSoftmax"):
            behind.add(node.input[0])
        elif node.op_type == "Attention" and len(node.input) > 3:
            behind.add(node.input[3])
        elif node.op_type in _MASKING and behind.intersection(node.output):
            behind.update(node.input)
    return large & behind


def _inside(
    node: onnx.NodeProto, reached: Mapping[str, float], shapes: Mapping[str, _Shape], axes: Mapping[str, list[int]]
) -> float:
    """What a node reaches inside, where that is more than what it reads and makes."""
    if node.op_type in _NORMS:
        return reached.get(node.input[0], 0.0) ** 2
    if node.op_type == "ReduceL2":
        return reached.get(node.output[0], 0.0) ** 2
    if node.op_type == "ReduceMean":
        return reached.get(node.output[0], 0.0) * _reduced(node, shapes.get(node.input[0], ()), axes)
    return 0.0


def _reduced(node: onnx.NodeProto, shape: _Shape, axes: Mapping[str, list[int]]) -> int:
    """How many values go into one mean, as far as the shape is known."""
    given = [list(item.ints) for item in node.attribute if item.name == "axes"]
    given += [axes[name] for name in node.input[1:] if name in axes]
    sizes = [shape[axis] for axis in given[0]] if given and shape else shape
    return int(np.prod([size or 1 for size in sizes]))


def _with_dequantized(model: onnx.ModelProto, ranges: Mapping[str, float]) -> dict[str, float]:
    """What comes out of a Q/DQ pair reaches what went in."""
    sources = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    pairs = [node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in sources]
    found = {node.output[0]: ranges[sources[node.input[0]]] for node in pairs if sources[node.input[0]] in ranges}
    return {**ranges, **found}


def _with_weights(model: onnx.ModelProto, ranges: Mapping[str, float]) -> dict[str, float]:
    """FP16 has an infinity of its own."""
    left_out = masked(model)
    found = {name: _largest(tensor) for name, tensor in _constants(model) if name not in left_out}
    return {**ranges, **{name: value for name, value in found.items() if np.isfinite(value)}}


def _constants(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """FP32 initializers and values of Constant nodes, by name."""
    tensors = [(tensor.name, tensor) for tensor in model.graph.initializer]
    for node in model.graph.node:
        if node.op_type in ("Constant", "ConstantOfShape"):
            tensors += [(node.output[0], item.t) for item in node.attribute if item.name == "value"]
    return ((name, tensor) for name, tensor in tensors if tensor.data_type == onnx.TensorProto.FLOAT)


def _largest(tensor: onnx.TensorProto) -> float:
    return float(np.abs(onnx.numpy_helper.to_array(tensor)).max(initial=0.0))


def _constant_axes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Short integer initializers: axes of reductions among them."""
    return {
        tensor.name: onnx.numpy_helper.to_array(tensor).ravel().tolist()
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT64 and len(tensor.dims) <= 1
    }


def float_shapes(model: onnx.ModelProto) -> dict[str, _Shape]:
    """The shapes of the FP32 tensors of the main graph, as far as ONNX can infer them; None for an open axis.

    Raises QuantizeError where ONNX finds a contradiction.
    """
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except onnx.shape_inference.InferenceError as error:
        raise QuantizeError(f"expected a model whose dtypes follow, found: {first_line(error)}") from error
    values = {value.name: value.type.tensor_type for value in (*graph.input, *graph.value_info, *graph.output)}
    return {
        name: tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
        for name, tensor in values.items()
        if tensor.elem_type == onnx.TensorProto.FLOAT
    }
