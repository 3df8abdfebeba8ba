"""Drop the asymmetric pairs that no INT8 kernel needs, instead of making them symmetric at the cost of their levels.

1. A reader that TensorRT computes in INT8, or through which integers pass, keeps its pair: a layer, a product, a
   pooling, a Concat, a move, the next Q; so does the skip input of a residual sum, for the fusion.
2. Any other reader of an asymmetric pair (an activation function, a product with a gate, a mean, the branch of a
   residual sum that a convolution makes, an output of the model) reads what the pair rounded.

Half of the levels of a range that starts at 0 are lost when it becomes symmetric; here nothing has to be.
Source: NVIDIA TensorRT documentation, Q/DQ Layer-Placement Recommendations: quantize all inputs of weighted operations,
by default not their outputs, and the residual input in skip-connections.
"""

from __future__ import annotations

import onnx

from edgekit.quantize.legal.graph import DQ, LAYERS, Edge, Q, QdqGraph
from edgekit.quantize.legal.placing import quantized_branches
from edgekit.quantize.relegalize.activations import is_mendable
from edgekit.quantize.relegalize.floats import bypass
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import Names

_IN_INT8 = {*LAYERS, Q, "Einsum", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize"}
_IN_INT8 |= {
    "Reshape",
    "Transpose",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Slice",
    "Split",
    "Gather",
    "Expand",
    "Identity",
}


def drop_needless(model: onnx.ModelProto) -> PassResult:
    """Rewrite in place."""
    graph = QdqGraph(model)
    edges = [edge for edge in graph.edges(graph.nodes) if graph.before(edge.dq) and is_mendable(graph, edge.dq)]
    count = bypass(model, graph, (edge for edge in edges if not _is_needed(graph, edge)))
    names = Names(model)
    count += sum(_end_before(graph, value.name, names) for value in model.graph.output)
    notes = (f"zero-point: {count} inputs without Q/DQ, where no INT8 kernel reads them",) if count else ()
    return PassResult(model, bool(count), notes)


def _is_needed(graph: QdqGraph, edge: Edge) -> bool:
    if edge.reader.op_type != "Add":
        return edge.reader.op_type in _IN_INT8
    branches = quantized_branches(graph, edge.reader)
    return bool(branches) and edge.at != branches[0]


def _end_before(graph: QdqGraph, output: str, names: Names) -> bool:
    """Let an output of the model be what its pair rounds, under the name that it has."""
    dq = graph.maker(output, DQ)
    if dq is None or not is_mendable(graph, dq):
        return False
    before = graph.before(dq)
    maker = graph.maker(before)
    if maker is None or maker.op_type == DQ or before in graph.outputs | graph.captured:
        return False
    dq.output[0] = names(f"{output}_dq")
    maker.output[list(maker.output).index(before)] = output
    for reader, at in graph.readers(before):
        reader.input[at] = output
    for reader, at in graph.readers(output):
        reader.input[at] = dq.output[0]
    return True
