"""A model without its weights, for shape inference: copying gigabytes would cost more than all the rest."""

from __future__ import annotations

import math

import onnx

# An initializer of more elements holds weights, not sizes that a shape follows from.
_LARGEST_SHAPE = 1024


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same nodes and functions, with every initializer that is too large to be a shape as an input.

    The types that the file notes for inner values are left out: after a cast to FP16 they may be stale, and inference
    fails.
    """
    bare = onnx.ModelProto(ir_version=max(model.ir_version, 4), functions=model.functions)
    bare.opset_import.extend(model.opset_import)
    graph = bare.graph
    graph.name = model.graph.name or "graph"
    graph.node.extend(model.graph.node)
    graph.output.extend(model.graph.output)
    stored = {tensor.name for tensor in model.graph.initializer}
    graph.input.extend(value for value in model.graph.input if value.name not in stored)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _LARGEST_SHAPE:
            graph.initializer.append(tensor)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return bare
