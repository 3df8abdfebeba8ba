"""The type and shape of every tensor of a model when its inputs have given sizes; the weights are not touched.

ONNX's shape inference propagates few values: the end of a Slice that is computed from a Shape is not among them. Where
sizes are missing, every Shape that is known becomes a constant, what follows from it is folded, and they are inferred
anew; so is what edgekit's own operators make. What depends on the data, such as the output of NonZero, stays unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from edgekit.errors import ModelError, first_line
from edgekit.rewrite.bare import without_weights
from edgekit.rewrite.fold import fold
from edgekit.rewrite.operator_shapes import is_ours, made_by

_MOST_ROUNDS = 8
_INT64 = onnx.TensorProto.INT64


@dataclass(frozen=True)
class Known:
    """`dtype` is ONNX's number of the type, 0 when unknown; `shape` is None where one of its sizes is unknown."""

    dtype: int
    shape: tuple[int, ...] | None


def shapes_at(model: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, Known]:
    """Return what is known of each named tensor of the main graph, with the inputs named in `sizes` at those sizes.

    Raises ModelError where the inference itself fails; what merely contradicts the graph stays unknown.
    """
    bare = without_weights(model)
    for value in bare.graph.input:
        if value.name in sizes:
            _set(value, sizes[value.name])
    known = _inferred(bare)
    for _ in range(_MOST_ROUNDS):
        missing = [node for node in bare.graph.node if any(_is_open(known, name) for name in node.output)]
        if not missing or not _folded(bare, known, missing):
            break
        known |= _inferred(bare)
    return known


def _inferred(bare: onnx.ModelProto) -> dict[str, Known]:
    try:
        graph = onnx.shape_inference.infer_shapes(bare, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"expected shapes that fit the model, found: {first_line(error)}", "another --shape"
        ) from error
    known = {value.name: _known(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    return known | {tensor.name: Known(tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer}


def _is_open(known: dict[str, Known], name: str) -> bool:
    return bool(name) and (name not in known or known[name].shape is None)


def _folded(bare: onnx.ModelProto, known: dict[str, Known], missing: list[onnx.NodeProto]) -> bool:
    """Make the known shapes constants, and what nodes with missing sizes read of them; False where that is nothing."""
    graph, changed = bare.graph, False
    wanted = [name for node in missing for name in node.input if name]
    for node in [node for node in graph.node if is_ours(node)]:
        changed |= _given(graph, node, known)
    for node in [node for node in graph.node if node.op_type == "Shape"]:
        shape = known[node.input[0]].shape if node.input[0] in known else None
        if shape is not None:
            ends = {item.name: item.i for item in node.attribute}
            sizes = shape[ends.get("start", 0) : ends.get("end", len(shape))]
            graph.initializer.append(onnx.helper.make_tensor(node.output[0], _INT64, [len(sizes)], sizes))
            graph.node.remove(node)
            changed = True
    return fold(bare, wanted).modified or changed


def _given(graph: onnx.GraphProto, node: onnx.NodeProto, known: dict[str, Known]) -> bool:
    """Put what one of edgekit's nodes makes among the inputs, with its shape; False where that is not known yet."""
    types = {name: item.dtype for name, item in known.items()}
    made = made_by(node, types, {name: item.shape for name, item in known.items() if item.shape is not None})
    if made is None:
        return False
    for name, (dtype, shape) in made.outputs.items():
        graph.input.append(onnx.helper.make_tensor_value_info(name, dtype, shape))
    graph.node.remove(node)
    return True


def _set(value: onnx.ValueInfoProto, sizes: tuple[int, ...]) -> None:
    dims = value.type.tensor_type.shape.dim
    for dim, size in zip(dims, sizes, strict=True):
        dim.dim_value = size


def _known(value: onnx.ValueInfoProto) -> Known:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return Known(tensor.elem_type, None)
    sizes = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
    return Known(tensor.elem_type, None if min(sizes, default=0) < 0 else tuple(sizes))
