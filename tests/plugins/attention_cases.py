"""From an Attention node of an ONNX graph to EdgekitAttention and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgekit.errors import EdgekitError
from edgekit.reference import Attention, AttentionOutputs
from tests.plugins.node_cases import attributes_of

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

INPUTS = ("Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen")
DOUBLE = 11  # TensorProto.DOUBLE


def attention_of_node(node: onnx.NodeProto, values: Arrays) -> Attention:
    """An ONNX Attention node, with the arrays that its inputs name, as EdgekitAttention.

    A mask of truth values becomes a bias of 0 and -infinity; one that is too short ends in -infinity. Raises
    EdgekitError, one line, for what EdgekitAttention does not compute.
    """
    given = {name: values[value] for name, value in zip(INPUTS, node.input, strict=False) if value}
    attributes = attributes_of(node)
    refuse_others(node, attributes)
    heads = attributes.get("q_num_heads"), attributes.get("kv_num_heads"), attributes.get("kv_num_heads")
    q, k, v = (four_axes(given[name], count) for name, count in zip("QKV", heads, strict=True))
    past = given.get("past_key")
    lengths = given.get("nonpad_kv_seqlen")
    total = k.shape[2] + (0 if past is None else past.shape[2])
    return Attention(
        q, k, v, bias_of(given.get("attn_mask"), total), None if lengths is None else lengths.astype(np.int32),
        past, given.get("past_value"), attributes.get("scale"), bool(attributes.get("is_causal", 0)),
        attributes.get("left_window_size", -1), attributes.get("right_window_size", -1),
        float(attributes.get("softcap", 0)), at_end=lengths is not None,
    )  # fmt: skip


def refuse_others(node: onnx.NodeProto, attributes: Mapping[str, Any]) -> None:
    """Raise EdgekitError unless EdgekitAttention is all that the node needs."""
    if len(node.output) > 3 and node.output[3]:
        raise EdgekitError(f"expected an Attention without its fourth output, found {node.output[3]}")
    if attributes.get("softmax_precision") == DOUBLE:
        raise EdgekitError("expected an Attention with its softmax in FP32 at most, found softmax_precision 11 (FP64)")


def four_axes(array: Array, heads: int | None) -> Array:
    """[N,S,h*D] -> [N,h,S,D]; four axes as they are."""
    if array.ndim == 4:
        return array
    assert heads is not None
    return array.reshape(*array.shape[:2], heads, -1).swapaxes(1, 2)


def bias_of(mask: Array | None, total: int) -> Array | None:
    """What is added to the scores, of S_total = `total` keys; BF16 as FP32."""
    if mask is None:
        return None
    bias = np.where(mask, 0, -np.inf).astype(np.float32) if mask.dtype == bool else mask
    bias = bias if bias.dtype == np.float16 else bias.astype(np.float32)
    missing = [(0, 0)] * (bias.ndim - 1) + [(0, total - bias.shape[-1])]
    return np.pad(bias, missing, constant_values=-np.inf)


def outputs_of_node(node: onnx.NodeProto, outputs: AttentionOutputs, axes: int) -> dict[str, Array]:
    """What EdgekitAttention returned as the outputs that the node has, by their names; `axes` are those of Q."""
    o = outputs.o
    if axes == 3:
        o = o.swapaxes(1, 2).reshape(o.shape[0], o.shape[2], -1)
    made = zip(node.output, (o, *outputs[1:]), strict=False)
    return {name: value for name, value in made if name and value is not None}
