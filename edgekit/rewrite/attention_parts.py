"""What EdgekitAttention needs to know of an attention: its operands, masks, cache and sizes, as found in a graph."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from edgekit.rewrite.attention_causal import causal_offset, plus, size_of
from edgekit.rewrite.attention_graph import AttentionGraph, attribute

FLOAT, FLOAT16, BFLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16
NUMBERS = (FLOAT, FLOAT16, BFLOAT16)
INFINITY = float("inf")
# A masked score is one that no softmax lets through: exp of the distance to any other is 0.
_MASKED = -1e4


@dataclass(frozen=True)
class Masked:
    """One step between the scores and the softmax: `tensor`, of type `dtype`, is added or says where scores stay.

    `keeps` is None for the former, else the truth value with which a score stays; others become `lowest`.
    """

    tensor: str
    dtype: int
    keeps: bool | None = None
    lowest: float = 0.0


@dataclass(frozen=True)
class Head:
    """An operand as [N,heads,S,D]: `perm` turns a tensor of four axes, `heads` splits the last of three, 0 for none."""

    tensor: str
    perm: tuple[int, ...] = ()
    heads: int = 0


@dataclass(frozen=True)
class Cache:
    """Past and present keys and values by name; `joins` are the nodes that joined them, which the operator does."""

    past_k: str
    past_v: str
    present_k: str
    present_v: str
    joins: tuple[onnx.NodeProto, ...] = ()


@dataclass(frozen=True)
class Scoring:
    """How scores become weights. `padded`: a mask may end before the keys do, and hides what is behind it."""

    scale: float
    softcap: float = 0.0
    masks: tuple[Masked, ...] = ()
    causal: bool = False
    lengths: str = ""
    window_left: int = -1
    window_right: int = -1
    padded: bool = False


@dataclass(frozen=True)
class Sizes:
    """dtype is ONNX's number of it; h, h_kv, D and D_v."""

    dtype: int
    heads: int
    kv_heads: int
    head_size: int
    value_size: int


@dataclass(frozen=True)
class Attending:
    """One attention: `node` is the Attention or the Softmax, `last` the node that makes its output `o` so far.

    `copies` are outputs that are the new keys and values as they are, of a node without a past.
    """

    node: onnx.NodeProto
    last: onnx.NodeProto
    q: Head
    k: Head
    v: Head
    scoring: Scoring
    sizes: Sizes
    cache: Cache | None
    o: str
    copies: tuple[str, str] = ("", "")


def is_lowest(number: float | None) -> bool:
    """Whether scores that become this number are masked."""
    return number is not None and number <= _MASKED


def cache_of(graph: AttentionGraph, k: str, v: str, others: list[str]) -> tuple[str, str, Cache] | None:
    """Where k and v are past ones with new ones behind them: the new ones, and the cache.

    None where they are not, or where one of `others`, the operator's other inputs, follows from what it would make.
    """
    joins = [graph.maker(name, "Concat") for name in (k, v)]
    found = [node for node in joins if node is not None and len(node.input) == 2 and _axis(graph, node) == 2]
    if len(found) < 2 or k == v:
        return None
    (past_k, new_k), (past_v, new_v) = (node.input for node in found)
    before = graph.follows_from([*others, *found[0].input, *found[1].input])
    if k in before or v in before or len({len(graph.shape(name) or ()) for name in (k, v)} | {4}) > 1:
        return None
    return new_k, new_v, Cache(past_k, past_v, k, v, tuple(found))


def _axis(graph: AttentionGraph, node: onnx.NodeProto) -> int:
    shape, axis = graph.shape(node.output[0]), attribute(node, "axis", 0)
    return int(axis % len(shape)) if shape else -1


def ungrouped(graph: AttentionGraph, k: str, v: str) -> tuple[str, str]:
    """k and v [N,h_kv,S,D], where each head of theirs is repeated for its neighbours; else as they are."""
    found = [_before_repeat(graph, name) for name in (k, v)]
    shapes = [graph.shape(name) for name in found if name]
    if len(shapes) < 2 or shapes[0] is None or shapes[1] is None or shapes[0][:3] != shapes[1][:3]:
        return k, v
    return found[0], found[1]


def _before_repeat(graph: AttentionGraph, name: str) -> str:
    """[N,h_kv,S,D] -> Unsqueeze -> [N,h_kv,1,S,D] -> Expand -> [N,h_kv,g,S,D] -> Reshape -> [N,h,S,D]."""
    last = graph.maker(name, "Reshape")
    wide = graph.maker(last.input[0], "Expand") if last is not None else None
    first = graph.maker(wide.input[0], "Unsqueeze") if wide is not None else None
    if last is None or wide is None or first is None:
        return ""
    shapes = [graph.shape(item) for item in (first.input[0], first.output[0], wide.output[0], name)]
    if any(shape is None for shape in shapes):
        return ""
    one, narrow, expanded, made = (shape or () for shape in shapes)
    if len(one) != 4 or narrow != (*one[:2], 1, *one[2:]) or expanded[:2] + expanded[3:] != one:
        return ""
    fits = len(expanded) == 5 and made == (one[0], one[1] * expanded[2], *one[2:])
    return first.input[0] if fits else ""


def unexpanded(graph: AttentionGraph, mask: str) -> str:
    """A mask before it was expanded, which the operator does by strides of 0."""
    while (node := graph.maker(mask, "Expand")) is not None:
        mask = node.input[0]
    return mask


def causal_instead(graph: AttentionGraph, scoring: Scoring, q: Head, k: Head, cache: Cache | None) -> Scoring:
    """Without its mask where that alone is the causal one, and query i is proved to stand at P + i."""
    if len(scoring.masks) != 1 or scoring.causal or scoring.lengths:
        return scoring
    (mask,) = scoring.masks
    if mask.keeps is None:
        mask = _chosen(graph, mask.tensor) or mask
    if mask.keeps is None:
        return scoring
    offset = causal_offset(graph, mask.tensor, not mask.keeps)
    past = size_of(graph, cache.past_k, 2) if cache is not None else {}
    shape = graph.shape(mask.tensor) or graph.shape(scoring.masks[0].tensor)
    if offset is None or past is None or plus(offset, past, -1) or shape is None:
        return scoring
    keys = (_steps(graph, k) or 0) + (_steps(graph, Head(cache.past_k)) or 0 if cache is not None else 0)
    if shape[-2:] != (_steps(graph, q), keys):
        return scoring
    return Scoring(scoring.scale, scoring.softcap, causal=True)


def _chosen(graph: AttentionGraph, bias: str) -> Masked | None:
    """A bias of 0 and a lowest number, as a mask."""
    node = graph.maker(bias, "Where")
    if node is None:
        return None
    numbers = [graph.scalar(name) for name in node.input[1:]]
    for keeps, (kept, other) in ((True, numbers), (False, numbers[::-1])):
        if kept == 0 and other is not None and is_lowest(other):
            return Masked(node.input[0], onnx.TensorProto.BOOL, keeps, other)
    return None


def _steps(graph: AttentionGraph, head: Head) -> int | None:
    """S of an operand, at the probe."""
    shape = graph.shape(head.tensor)
    if shape is None:
        return None
    return shape[1] if head.heads else shape[head.perm[2] if head.perm else 2]
