"""Turn the outputs of Constant nodes into initializers, where every other pass looks for weights.

1. A Constant node with the attribute `value` becomes an initializer with the name of its output.
2. Other forms (value_float, value_ints, sparse_value, strings) and Constants inside subgraphs stay.
"""

from __future__ import annotations

import onnx

from edgekit.rewrite import PassResult


def constants_to_initializers(model: onnx.ModelProto) -> PassResult:
    """Rewrite in place; the numbers are the same tensors under the same names."""
    kept = []
    for node in model.graph.node:
        value = next((item for item in node.attribute if item.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(value.t)
            tensor.name = node.output[0]
            model.graph.initializer.append(tensor)
        else:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            kept.append(copy)
    modified = len(kept) < len(model.graph.node)
    if modified:
        del model.graph.node[:]
        model.graph.node.extend(kept)
    return PassResult(model, modified)
