"""FP32 -> FP16: weights and arithmetic in half precision, inputs and outputs of the model unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import onnx

from edgekit.errors import QuantizeError, first_line
from edgekit.quantize.halves import Kept, masked, too_large_for_half
from edgekit.quantize.round_trips import without_round_trips
from edgekit.quantize.scales import LARGEST_HALF
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import Names
from edgekit.rewrite.sort_nodes import sort_nodes

# The importers of TensorRT 10 and 11 reject FP16 recurrences that have `sequence_lens`.
RECURRENT = ("LSTM", "GRU", "RNN")


def to_fp16(
    model: onnx.ModelProto, keep_ops: tuple[str, ...] = (), ranges: Mapping[str, float] | None = None
) -> PassResult:
    """Return a model that computes in FP16 where onnxruntime's converter can; `keep_ops` stay in FP32.

    1. Recurrent operators, the converter's own exceptions, and `keep_ops` are left alone, with casts around them.
    2. `ranges` has the largest |x| that real data gave the tensors of `halves.range_tensors`: a node that FP16 is too
       small for stays in FP32, and the notes say for which value. Without ranges nothing is known of overflows.
       Normalizations are no exception by themselves: TensorRT, and ONNX by their `stash_type`, compute them in FP32.
    3. Everything else, weights included, becomes FP16; a weight outside +-65504 is clipped, and the notes say so, but
       for the constant of a mask.
    4. The model's inputs and outputs keep their dtypes.

    Raises QuantizeError when the converter fails. `model` itself is consumed.
    """
    if any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer):
        return PassResult(model, False, ("the model already holds FP16 weights and was left as it is",))
    name_nodes(model)
    masks = masked(model)
    large = {name: value for name, value in _beyond_half(model.graph) if name not in masks}
    kept = Kept() if ranges is None else too_large_for_half(model, ranges)
    half = converted(model, (*RECURRENT, *keep_ops), kept.nodes)
    clipped = [name for name, tensor in _weights(half.graph) if tensor.data_type == onnx.TensorProto.FLOAT16]
    notes = [
        f"weight {name!r} holds {large[name]:g}, beyond FP16: clipped to {LARGEST_HALF:g}"
        for name in clipped
        if name in large
    ]
    return PassResult(half, True, (*kept.notes, *notes))


def converted(model: onnx.ModelProto, op_types: Iterable[str], nodes: Iterable[str]) -> onnx.ModelProto:
    """Run onnxruntime's converter to FP16; `op_types`, and the `nodes` of these names, stay in FP32.

    `model` is consumed. Raises QuantizeError when the converter fails.
    """
    # Imported late: it costs 0.3 s and no other command needs it.
    from onnxruntime.transformers import float16

    name_constant_outputs(model)
    own = {node.name for node in model.graph.node}
    try:
        half = float16.convert_float_to_float16(
            model,
            keep_io_types=True,
            op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *op_types],
            node_block_list=list(nodes),
        )
    except Exception as error:
        raise QuantizeError(
            f"onnxruntime's FP16 converter failed: {first_line(error, 300) or repr(error)}",
            "--keep-ops with the operator it names",
        ) from error
    # The converter appends its casts at the end of the graph.
    return without_round_trips(sort_nodes(half).model, own)


def name_nodes(model: onnx.ModelProto) -> None:
    """Give each node of the main graph a name of its own, where it has none."""
    names = Names(model)
    for node in model.graph.node:
        node.name = node.name or names(f"{node.op_type}_{node.output[0]}")


def name_constant_outputs(model: onnx.ModelProto) -> None:
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


def _beyond_half(graph: onnx.GraphProto) -> Iterator[tuple[str, float]]:
    """The weights that the converter would clip without a word, with their largest |w|; infinity stays infinity."""
    for name, tensor in _weights(graph):
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor)
            largest = float(np.abs(values).max(where=~np.isinf(values), initial=0.0))
            if not largest <= LARGEST_HALF:
                yield name, largest


def _weights(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """The initializers and the values of Constant nodes, also inside subgraphs."""
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.type == onnx.AttributeProto.TENSOR:
                yield node.output[0], attribute.t
            elif attribute.type == onnx.AttributeProto.GRAPH:
                yield from _weights(attribute.g)
