"""An Attention node of ONNX in the parts of EdgekitAttention.

Source: ONNX operator specification, Attention-23, Attention-24, Attention-25.
"""

from __future__ import annotations

import onnx

from edgekit.rewrite.attention_graph import AttentionGraph
from edgekit.rewrite.attention_node import AttentionNode
from edgekit.rewrite.attention_parts import (
    INFINITY,
    NUMBERS,
    Attending,
    Cache,
    Head,
    Masked,
    Scoring,
    Sizes,
    cache_of,
    causal_instead,
    unexpanded,
    ungrouped,
)

_DOUBLE, _BOOL = onnx.TensorProto.DOUBLE, onnx.TensorProto.BOOL
_KNOWN = {"is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale", "softcap"}
_KNOWN |= {"softmax_precision", "left_window_size", "right_window_size"}


def why_uncovered(item: AttentionNode) -> str:
    """Why edgekit's operator cannot stand for the node; empty where it can."""
    unknown = sorted({found.name for found in item.node.attribute} - _KNOWN)
    if unknown:
        return f"its attribute {unknown[0]} is unknown"
    if item.output(3):
        return "the scores are an output of it"
    if item.attribute("softmax_precision", 0) == _DOUBLE:
        return "its softmax is of double precision"
    if item.dtype not in NUMBERS or set(item.dtypes[:3]) != {item.dtype}:
        return "its operands are not all of FP32, FP16 or BF16"
    if not item.axes:
        return "its number of axes is unknown"
    if not (item.head_size and item.value_size):
        return "its head size is unknown"
    if item.input(3) and item.dtypes[3] not in (*NUMBERS, _BOOL):
        return "its mask is of unknown or double type"
    return ""


def attending_of_node(graph: AttentionGraph, item: AttentionNode) -> Attending:
    """The parts of a node that is covered."""
    node = item.node
    counts = (item.heads, item.kv_heads, item.kv_heads) if item.axes == 3 else (0, 0, 0)
    q, k, v = (Head(name, heads=heads) for name, heads in zip(node.input, counts, strict=False))
    kv_heads, cache, scoring = item.kv_heads, None, _scoring(graph, item)
    copies = (item.output(1), item.output(2))
    if item.input(4):
        presents = copies
        cache, copies = Cache(item.input(4), item.input(5), *presents), ("", "")
    elif item.axes == 4 and not any(copies):
        key, value = ungrouped(graph, k.tensor, v.tensor)
        kv_heads = (graph.shape(key) or (0, kv_heads))[1]
        # Keys that the graph has joined are no past to the node: it counts positions from the first of them.
        counts_from_first = scoring.causal or max(scoring.window_left, scoring.window_right) >= 0
        others = [name for name in (q.tensor, *node.input[3:]) if name]
        found = None if counts_from_first else cache_of(graph, key, value, others)
        key, value, cache = found or (key, value, None)
        k, v = Head(key), Head(value)
    scoring = causal_instead(graph, scoring, q, k, cache)
    sizes = Sizes(item.dtype, item.heads, kv_heads, item.head_size, item.value_size)
    return Attending(node, node, q, k, v, scoring, sizes, cache, node.output[0], copies)


def _scoring(graph: AttentionGraph, item: AttentionNode) -> Scoring:
    mask = item.input(3)
    masks: tuple[Masked, ...] = ()
    padded = bool(mask) and item.opset >= 24 and not _ends_with_the_keys(graph, item)
    if mask:
        mask = mask if padded else unexpanded(graph, mask)
        keeps = True if item.dtypes[3] == _BOOL else None
        masks = (Masked(mask, item.dtypes[3], keeps, -INFINITY),)
    return Scoring(
        item.scale,
        item.attribute("softcap", 0.0),
        masks,
        item.causal,
        item.input(6),
        item.attribute("left_window_size", -1),
        item.attribute("right_window_size", -1),
        padded,
    )


def _ends_with_the_keys(graph: AttentionGraph, item: AttentionNode) -> bool:
    """Whether a mask is known to be as long as past and new keys: from opset 24 on it may end before."""
    mask, k = graph.shape(item.input(3)), graph.shape(item.node.input[1])
    past = graph.shape(item.input(4)) if item.input(4) else (0, 0, 0, 0)
    if not mask or not k or not past:
        return False
    return mask[-1] == k[-2] + past[2]
