"""An FP16 or BF16 model as an FP32 one that computes the same, so that its accuracy can be judged on a CPU.

onnxruntime's CPU has no BF16 product, convolution or recurrence. FP16 models it runs, but without a kernel it goes on
in FP32 from node to node, at ORT_DISABLE_ALL too: what would overflow there on a GPU stays finite. In the emulation
each tensor that is narrow in the model is rounded to its dtype, by a Cast there and back; the arithmetic between is
FP32, in which tensor cores sum up as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx

from edgekit.errors import ModelError
from edgekit.rewrite.names import Names, subgraphs
from edgekit.rewrite.sort_nodes import names_used, sort_nodes

_FP32 = onnx.TensorProto.FLOAT
_NARROW = {onnx.TensorProto.FLOAT16: "fp16", onnx.TensorProto.BFLOAT16: "bf16"}
# The attributes whose integer is a dtype.
_DTYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")


def emulated(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an FP32 model that computes what `model` does in FP16 and BF16; `model` stays as it is.

    Inputs and outputs of the model that are narrow become FP32. Weights keep their rounded values, in twice the space.
    Raises ModelError where onnx does not know the dtype of a tensor that is read: it may be narrow.
    """
    twin = onnx.shape_inference.infer_shapes(model)  # a copy, which names the dtypes of all tensors
    _check_typed(twin.graph, {name for node in twin.graph.node for name in names_used(node) if name})
    narrow = narrow_tensors(twin.graph)
    for dtype in _NARROW:
        relabel(twin.graph, dtype, _FP32)
    _round(twin.graph, narrow, Names(twin))
    return sort_nodes(twin).model


def narrow_dtypes(model: onnx.ModelProto) -> tuple[str, ...]:
    """`fp16` and `bf16`, as far as anything in the model has them; a look without inference, which copies a model."""
    found = set(_dtypes(model.graph))
    return tuple(name for dtype, name in _NARROW.items() if dtype in found)


def narrow_tensors(graph: onnx.GraphProto) -> dict[str, int]:
    """The dtypes of the FP16 and BF16 tensors, by name, as far as the graph tells; also inside subgraphs."""
    found = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output, *graph.value_info)}
    narrow = {name: dtype for name, dtype in found.items() if dtype in _NARROW}
    for node in graph.node:
        for inner in subgraphs(node):
            narrow |= narrow_tensors(inner)
    return narrow


def relabel(graph: onnx.GraphProto, old: int, new: int) -> None:
    """Turn one dtype into the other, in place, wherever it stands: values, weights, attributes, subgraphs."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == old:
            value.type.tensor_type.elem_type = new
    tensors = [*graph.initializer, *(item.t for node in graph.node for item in node.attribute if item.HasField("t"))]
    for tensor in tensors:
        if tensor.data_type == old:
            tensor.CopyFrom(tensor_of(onnx.numpy_helper.to_array(tensor), tensor.name, new))
    for node in graph.node:
        for item in node.attribute:
            if item.name in _DTYPE_ATTRIBUTES and item.i == old:
                item.i = new
        for inner in subgraphs(node):
            relabel(inner, old, new)


def tensor_of(values: Any, name: str, dtype: int) -> onnx.TensorProto:
    """An array's values rounded to `dtype`, one of ONNX's."""
    return onnx.numpy_helper.from_array(values.astype(onnx.helper.tensor_dtype_to_np_dtype(dtype)), name)


def _round(graph: onnx.GraphProto, narrow: dict[str, int], names: Names) -> None:
    """Round what nodes make of these names, in place."""
    for node in list(graph.node):
        for inner in subgraphs(node):
            _round(inner, narrow, names)
        for index, name in enumerate(node.output):
            if name in narrow:
                exact, rounded = names(f"{name}_exact"), names(f"{name}_rounded")
                node.output[index] = exact
                graph.node.append(onnx.helper.make_node("Cast", [exact], [rounded], f"{name}_round", to=narrow[name]))
                graph.node.append(onnx.helper.make_node("Cast", [rounded], [name], f"{name}_widen", to=_FP32))


def _dtypes(graph: onnx.GraphProto) -> Iterator[int]:
    """The dtypes of values and weights, and those that nodes name, also inside subgraphs; many come again."""
    yield from (value.type.tensor_type.elem_type for value in (*graph.input, *graph.output, *graph.value_info))
    yield from (tensor.data_type for tensor in graph.initializer)
    for node in graph.node:
        for item in node.attribute:
            if item.HasField("t"):
                yield item.t.data_type
            elif item.name in _DTYPE_ATTRIBUTES:
                yield item.i
        for inner in subgraphs(node):
            yield from _dtypes(inner)


def _check_typed(graph: onnx.GraphProto, read: set[str]) -> None:
    """Of what is read: nobody minds an old Dropout's mask. Behind an operator of another domain nothing is known."""
    values = (*graph.input, *graph.output, *graph.value_info)
    # A sequence or an optional is typed too, and has no dtype of its own.
    typed = {item.name for item in values if item.type.WhichOneof("value") not in (None, "tensor_type")}
    typed |= {item.name for item in values if item.type.tensor_type.elem_type != onnx.TensorProto.UNDEFINED}
    for node in graph.node:
        unknown = [name for name in node.output if name in read and name not in typed]
        if unknown:
            raise ModelError(
                f"expected to know the dtype of {unknown[0]!r}, found that onnx cannot infer it (node {node.op_type})"
            )
        for inner in subgraphs(node):
            _check_typed(inner, read)
