"""FP32 -> FP16: weights and arithmetic in half precision, inputs and outputs of the model unchanged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from edgekit.errors import QuantizeError
from edgekit.quantize.scales import LARGEST_HALF
from edgekit.rewrite import PassResult
from edgekit.rewrite.sort_nodes import sort_nodes

# The importers of TensorRT 10 and 11 reject FP16 recurrences that have `sequence_lens`.
_RECURRENT = ("LSTM", "GRU", "RNN")


def to_fp16(model: onnx.ModelProto, keep_ops: tuple[str, ...] = ()) -> PassResult:
    """Return a model that computes in FP16 where onnxruntime's converter can; `keep_ops` stay in FP32.

    1. Recurrent operators, the converter's own exceptions, and `keep_ops` are left alone, with casts around them.
    2. Everything else, weights included, becomes FP16; a weight outside +-65504 is clipped, and the notes say so.
    3. The model's inputs and outputs keep their dtypes.

    Raises QuantizeError when the converter fails. `model` itself is consumed.
    """
    # Imported late: it costs 0.3 s and no other command needs it.
    from onnxruntime.transformers import float16

    if any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer):
        return PassResult(model, False, ("the model already holds FP16 weights and was left as it is",))
    notes = _beyond_half(model)
    _name_constant_outputs(model)
    blocked = [*float16.DEFAULT_OP_BLOCK_LIST, *_RECURRENT, *keep_ops]
    try:
        half = float16.convert_float_to_float16(model, keep_io_types=True, op_block_list=blocked)
    except Exception as error:
        raise QuantizeError(
            f"onnxruntime's FP16 converter failed: {str(error)[:300]}", "--keep-ops with the operator it names"
        ) from error
    # The converter appends its casts at the end of the graph.
    return PassResult(sort_nodes(half).model, True, notes)


def _name_constant_outputs(model: onnx.ModelProto) -> None:
    """The converter casts what a node makes: an output that is a weight itself gets an Identity to make it."""
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.output:
        if value.name in weights:
            inner = f"{value.name}_constant"
            for tensor in model.graph.initializer:
                tensor.name = inner if tensor.name == value.name else tensor.name
            for node in model.graph.node:
                node.input[:] = [inner if name == value.name else name for name in node.input]
            model.graph.node.append(onnx.helper.make_node("Identity", [inner], [value.name], f"{value.name}_identity"))


def _beyond_half(model: onnx.ModelProto) -> tuple[str, ...]:
    """The weights that the converter will clip without a word."""
    notes = []
    for name, tensor in _weights(model.graph):
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor)
            largest = float(np.abs(values).max()) if values.size else 0.0
            if not largest <= LARGEST_HALF:
                notes.append(f"weight {name!r} holds {largest:g}, beyond FP16: clipped to {LARGEST_HALF:g}")
    return tuple(notes)


def _weights(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """The initializers and the values of Constant nodes, also inside subgraphs."""
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.type == onnx.AttributeProto.TENSOR:
                yield node.output[0], attribute.t
            elif attribute.type == onnx.AttributeProto.GRAPH:
                yield from _weights(attribute.g)
