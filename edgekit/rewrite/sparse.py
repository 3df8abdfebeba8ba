"""Weights that a file stores sparsely, as the dense ones that everyone reads.

1. A sparse initializer becomes an initializer of the same name, zeros written out.
2. A Constant node with `sparse_value` gets the dense tensor as its `value`.
3. In the main graph and in all subgraphs.

Source: ONNX, onnx.proto, SparseTensorProto: indices are linear, or [NNZ, rank].
"""

from __future__ import annotations

import math

import onnx

from edgekit.errors import ModelError
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import graphs_of

# A few indices may claim any size: what is written out must stay what a protobuf can hold.
_LARGEST_BYTES = 1 << 30


def densify(model: onnx.ModelProto) -> PassResult:
    """Rewrite in place; ModelError for one whose indices do not fit its shape, or that would be larger than 1 GiB."""
    modified = False
    for graph in graphs_of(model.graph):
        for stored in graph.sparse_initializer:
            graph.initializer.append(_dense(stored, stored.values.name))
            modified = True
        del graph.sparse_initializer[:]
        for node in graph.node:
            for attribute in node.attribute if node.op_type == "Constant" else ():
                if attribute.name == "sparse_value":
                    dense = _dense(attribute.sparse_tensor, node.output[0])
                    attribute.CopyFrom(onnx.helper.make_attribute("value", dense))
                    modified = True
    return PassResult(model, modified)


def _dense(stored: onnx.SparseTensorProto, name: str) -> onnx.TensorProto:
    dims = list(stored.dims)
    values = onnx.numpy_helper.to_array(stored.values)
    indices = onnx.numpy_helper.to_array(stored.indices)
    if math.prod(dims) * values.itemsize > _LARGEST_BYTES or min(dims, default=1) < 0:
        raise ModelError(
            f"expected sparse weights {name!r} of at most 1 GiB when written out, found the shape {dims}",
            "export it with dense weights",
        )
    dense = values.dtype.type(0).repeat(math.prod(dims)).reshape(dims)
    try:
        places = tuple(indices.T) if indices.ndim == 2 else indices
        if indices.size and (indices.min() < 0 or len(indices) != len(values)):
            raise IndexError("an index below 0, or not one index a value")
        if indices.ndim == 2:
            dense[places] = values
        else:
            dense.reshape(-1)[places] = values
    except IndexError as error:
        raise ModelError(
            f"expected sparse weights {name!r} of shape {dims}, found: {error}", "export it anew"
        ) from error
    return onnx.numpy_helper.from_array(dense, name)
