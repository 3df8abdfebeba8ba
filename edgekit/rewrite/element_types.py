"""The element types of what a node makes, from those of what it reads: enough to write constants of the right type.

onnx's shape inference stops behind the first operator of another domain; this walks past it.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

# What edgekit calls ONNX's types of numbers.
PRECISIONS: dict[int, str] = {
    onnx.TensorProto.FLOAT: "fp32",
    onnx.TensorProto.FLOAT16: "fp16",
    onnx.TensorProto.BFLOAT16: "bf16",
    onnx.TensorProto.DOUBLE: "fp64",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT4: "int4",
    onnx.TensorProto.FLOAT8E4M3FN: "fp8",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.BOOL: "bool",
}
# Attributes that name the type of the output, or hold a tensor of it.
_SAYING = ("to", "dtype", "output_dtype")
_CONCRETE = {
    f"tensor({kind})": onnx.TensorProto.DataType.Value(name)
    for kind, name in (("float", "FLOAT"), ("int64", "INT64"), ("bool", "BOOL"), ("int32", "INT32"))
}


def declared_types(graph: onnx.GraphProto) -> dict[str, int]:
    """Element types of the inputs, the initializers and what the file notes of inner values; 0 is unknown."""
    values = (*graph.value_info, *graph.input)
    known = {value.name: value.type.tensor_type.elem_type for value in values}
    known |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return known | {tensor.values.name: tensor.values.data_type for tensor in graph.sparse_initializer}


def made_types(node: onnx.NodeProto, known: dict[str, int], opset: int) -> dict[str, int]:
    """Element types of the node's outputs where they follow from its operator; nothing for an unknown operator."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError:
        return {}
    bound: dict[str, int] = {}
    for name, kind in zip(node.input, _kinds(list(schema.inputs)), strict=False):
        if known.get(name):
            bound.setdefault(kind, known[name])
    said = _said(node)
    found = {
        name: bound.get(kind) or _CONCRETE.get(kind) or said
        for name, kind in zip(node.output, _kinds(list(schema.outputs)), strict=False)
    }
    return {name: kind for name, kind in found.items() if name and kind}


def _kinds(formal: list[onnx.defs.OpSchema.FormalParameter]) -> Iterator[str]:
    """The type variable of each parameter; the last one goes on for those of any number."""
    for parameter in formal:
        yield parameter.type_str
    while formal:
        yield formal[-1].type_str


def _said(node: onnx.NodeProto) -> int:
    """The type that an attribute names: a Cast's, a Constant's, that of a branch's first output."""
    for attribute in node.attribute:
        if attribute.name in _SAYING:
            return attribute.i
        if attribute.type == onnx.AttributeProto.TENSOR:
            return attribute.t.data_type
        if attribute.type == onnx.AttributeProto.GRAPH and len(attribute.g.output) == 1:
            return attribute.g.output[0].type.tensor_type.elem_type
    return onnx.TensorProto.FLOAT if node.op_type == "ConstantOfShape" else 0
