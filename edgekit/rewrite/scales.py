"""A digest of a model's quantization: two files with the same scales have the same, whatever else differs.

1. The nodes QuantizeLinear and DequantizeLinear count, in the order of the graphs, outer graphs first.
2. Of each the operator, its `axis` and `block_size`, then scale and zero point: element type, shape, bytes in the order
   of NumPy's C. A name says nothing, and where a scale is computed, that is all that is said of it.
"""

from __future__ import annotations

import hashlib

import onnx

from edgekit.rewrite.names import ONNX_DOMAINS, graphs_of

_OPS = ("QuantizeLinear", "DequantizeLinear")


def scales_sha256(model: onnx.ModelProto) -> str:
    """The SHA-256 as hexadecimal digits; empty for a model without such nodes."""
    graphs = list(graphs_of(model.graph))
    known = _constants(graphs)
    digest, count = hashlib.sha256(), 0
    for node in (node for graph in graphs for node in graph.node):
        if node.op_type in _OPS and node.domain in ONNX_DOMAINS:
            count += 1
            numbers = {item.name: item.i for item in node.attribute if item.name in ("axis", "block_size")}
            digest.update(f"{node.op_type} {sorted(numbers.items())}\n".encode())
            for name in node.input[1:3]:
                digest.update(_told(known.get(name)))
    return digest.hexdigest() if count else ""


def _constants(graphs: list[onnx.GraphProto]) -> dict[str, onnx.TensorProto]:
    found = {tensor.name: tensor for graph in graphs for tensor in graph.initializer}
    values = (
        (node, item) for graph in graphs for node in graph.node for item in node.attribute if item.name == "value"
    )
    return found | {node.output[0]: item.t for node, item in values if node.op_type == "Constant"}


def _told(tensor: onnx.TensorProto | None) -> bytes:
    if tensor is None:
        return b"computed or absent\n"
    # to_array: the same numbers stand in a file as raw bytes or as fields.
    return f"{tensor.data_type} {list(tensor.dims)}\n".encode() + onnx.numpy_helper.to_array(tensor).tobytes()
