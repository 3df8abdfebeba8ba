"""Raise a model to an opset that has the operators a later pass needs.

1. A model that is there already stays as it is.
2. Otherwise onnx's version converter rewrites every node; a node that it cannot raise is an error.
3. The IR version becomes the one of that opset at the least.
4. Nodes get names where they have none, since the passes after this one find them by name.
"""

from __future__ import annotations

import onnx
from onnx import version_converter

from edgekit.errors import QuantizeError, first_line
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import Names


def raise_opset(model: onnx.ModelProto, opset: int) -> PassResult:
    """Return `model` at `opset` or above; QuantizeError when onnx's converter cannot do it."""
    current = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), opset)
    modified = current < opset
    if modified:
        try:
            model = version_converter.convert_version(model, opset)
        except Exception as error:  # the converter's C++ asserts arrive as RuntimeError and others
            raise QuantizeError(
                f"expected a model of opset {opset} or above, found {current}, which onnx cannot raise: "
                f"{first_line(error, 200)}",
                "export it at a newer opset",
            ) from error
    # Before IR version 4 every initializer had to be an input too, and those that passes add are none.
    least = onnx.helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    model.ir_version = max(model.ir_version, least, 4)
    names = Names(model)
    for index, node in enumerate(model.graph.node):
        node.name = node.name or names(f"{node.op_type}_{index}")
    return PassResult(model, modified)
