"""INT8 weights for LSTM, GRU and RNN; activations and arithmetic stay in floating point.

Each row of a gate in W [D,GH,I] and R [D,GH,H] has a scale of its own, written as the blocked DequantizeLinear of opset
21: axis 2, one block a row, scales [D,GH,1]. onnxruntime runs that form and TensorRT-RTX builds it; scales of two axes
are refused by the one or crash the other. Biases stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx

from edgekit.quantize.scales import quantize_rows
from edgekit.quantize.weights import Levels, add_dequantized, finite_values
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import Names
from edgekit.rewrite.sort_nodes import sort_nodes
from edgekit.rewrite.unread import drop_unread

OPSET = 21
_OP_TYPES = ("LSTM", "GRU", "RNN")
_WEIGHTS = (1, 2)  # W and R among the inputs


def has_recurrent(model: onnx.ModelProto, keep_ops: tuple[str, ...]) -> bool:
    """Whether there is a recurrent node whose weights could be INT8."""
    return bool(_nodes(model, keep_ops))


def recurrent_weights(model: onnx.ModelProto, keep_ops: tuple[str, ...]) -> list[str]:
    """The names of W and R, whatever makes them."""
    return [node.input[index] for node in _nodes(model, keep_ops) for index in _WEIGHTS]


def quantizable_recurrent(
    model: onnx.ModelProto, keep_ops: tuple[str, ...]
) -> tuple[list[onnx.NodeProto], tuple[str, ...]]:
    """The recurrent nodes of the main graph whose weights can be INT8, but for the types in `keep_ops`.

    A node whose weights are no FP32 initializers is left alone, and the notes say so. One that has only weights of one
    row, or of one value a row, is left without a word: they are tiny, and TensorRT-RTX refuses them.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    found, notes = [], []
    for node in _nodes(model, keep_ops):
        tensors = [weights.get(node.input[index]) for index in _WEIGHTS]
        if any(tensor is None or tensor.data_type != onnx.TensorProto.FLOAT for tensor in tensors):
            notes.append(f"{node.op_type} {node.name!r} stays in floating point: its weights are no FP32 constants")
        elif any(_is_wide(tensor) for tensor in tensors):
            found.append(node)
    return found, tuple(notes)


def quantize_recurrent(
    model: onnx.ModelProto, nodes: Collection[str], levels: Mapping[tuple[str, int], Levels] | None = None
) -> PassResult:
    """Quantize W and R of the named nodes, all of them found by `quantizable_recurrent`, in place.

    `levels` has those that are rounded already, by node and number of its input.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    given = levels or {}
    done: dict[tuple[str, int], str] = {}
    free = Names(model)
    for node in model.graph.node:
        for index in _WEIGHTS if node.name in nodes else ():
            name = node.input[index]
            if not _is_wide(weights.get(name)):
                continue
            rounded = given.get((node.name, index))
            key = (name, id(rounded))
            if key not in done:
                values, scale = rounded or quantize_rows(finite_values(weights[name]))
                one_block_a_row = {"axis": 2, "block_size": values.shape[-1]}
                done[key] = add_dequantized(model.graph, name, (values, scale), free, one_block_a_row)
            node.input[index] = done[key]
    return PassResult(drop_unread(sort_nodes(model).model).model, bool(done))


def _is_wide(weight: onnx.TensorProto | None) -> bool:
    """[D,GH,I] of more than one row, and of more than one value a row."""
    return weight is not None and min(weight.dims[1:]) > 1


def _nodes(model: onnx.ModelProto, keep_ops: tuple[str, ...]) -> list[onnx.NodeProto]:
    asked = set(_OP_TYPES) - set(keep_ops)
    return [node for node in model.graph.node if node.op_type in asked and node.domain in ("", "ai.onnx")]
