"""Says where a model computes in double precision, which TensorRT does not: it takes float32 without a word.

1. Weights of float64 and Casts to it, in the main graph and in subgraphs, are counted; nothing is rewritten.
2. Inputs and outputs of float64 are refused by `interface`.

Source: TensorRT, "Supported ONNX operators": DOUBLE is cast to FLOAT,
https://github.com/onnx/onnx-tensorrt/blob/main/docs/operators.md
"""

from __future__ import annotations

import onnx

from edgekit.rewrite import PassResult
from edgekit.rewrite.names import graphs_of

_DOUBLE = onnx.TensorProto.DOUBLE


def note_doubles(model: onnx.ModelProto) -> PassResult:
    """Return the model as it is, with a note where it has doubles."""
    weights = casts = 0
    example = ""
    for graph in graphs_of(model.graph):
        stored = [tensor.name for tensor in graph.initializer if tensor.data_type == _DOUBLE]
        weights += len(stored)
        example = example or "".join(stored[:1])
        for node in graph.node:
            if node.op_type in ("Cast", "Constant") and _is_double(node):
                casts += 1
                example = example or node.name or node.output[0]
    if not weights + casts:
        return PassResult(model, False)
    note = (
        f"{weights} weights and {casts} casts or constants of float64, such as {example!r}: TensorRT computes them in "
        "float32; export the network in float32 to judge what will run"
    )
    return PassResult(model, False, (note,))


def _is_double(node: onnx.NodeProto) -> bool:
    return any(item.i == _DOUBLE if item.name == "to" else item.t.data_type == _DOUBLE for item in node.attribute)
