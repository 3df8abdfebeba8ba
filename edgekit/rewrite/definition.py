"""A node as the nodes by which the ONNX package itself defines its operator.

1. The definition is that of the newest opset up to the model's, for the types of the node's inputs.
2. Its inputs and outputs get the node's names, its inner values free names behind the node's own.

Source: onnx.defs, functions that depend on their context.
"""

from __future__ import annotations

from typing import Any

import onnx

from edgekit.errors import ModelError
from edgekit.rewrite.names import Names


def definition_of(
    node: onnx.NodeProto, opset: int, types: tuple[onnx.TypeProto, ...], names: Names
) -> list[onnx.NodeProto]:
    """Return the nodes; `types` are those of the inputs, empty for one that is left out. Raises ModelError."""
    schema: Any = onnx.defs.get_schema(node.op_type, opset, node.domain)
    versions = [version for version in schema.context_dependent_function_opset_versions if version <= opset]
    if not versions or not types[0].tensor_type.elem_type:
        raise ModelError(
            f"expected ONNX to define {node.op_type} node {node.name!r} of opset {opset} by other operators, "
            "found no definition for its form"
        )
    serialized = schema.get_context_dependent_function_with_opset_version(
        max(versions), node.SerializeToString(), [item.SerializeToString() for item in types]
    )
    function = onnx.FunctionProto.FromString(serialized)
    outer = dict(zip(function.input, node.input, strict=False)) | dict(zip(function.output, node.output, strict=False))
    prefix = node.name or node.output[0]
    renamed = {"": ""}
    for inner in dict.fromkeys(name for item in function.node for name in (*item.input, *item.output)):
        if inner:
            renamed[inner] = outer.get(inner) or names(f"{prefix}_{inner}")
    return [_renamed(item, renamed, names(f"{prefix}_{item.op_type}")) for item in function.node]


def _renamed(node: onnx.NodeProto, renamed: dict[str, str], name: str) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = name
    for field in (copy.input, copy.output):
        field[:] = [renamed[item] for item in field]
    return copy
