"""Attention as edgekit's operator: Attention nodes of ONNX, and the products and the softmax that stand for one.

1. Each Attention node of the main graph that EdgekitAttention computes (`attention_operator.why_uncovered`) and each
   product, Softmax and product (`attention_pattern`) that `which` takes becomes one EdgekitAttention, of that node's or
   the Softmax's name. What it made keeps its name. Attention inside of If, Loop or Scan is left.
2. Operands of three axes are split into heads by Reshape and Transpose, and so the output is put together. No size is
   written but the number of heads: batch and lengths stay open.
3. A mask of truth values becomes a bias of 0 and -infinity, or of what the graph had as its lowest number. A finite
   lowest number becomes FP32's, in a bias of FP32: then a query that sees nothing has the same score everywhere, as it
   had, and attends evenly; by -infinity it gets zeros, where a softmax alone would give NaN. Masks that are added stay
   as they are; what they hide from all keys alike may differ where sums in FP16 were infinite. From opset 24 on a mask
   that is shorter than the keys is filled up with -infinity.
4. A mask that is proved to be the causal one (`attention_causal`) becomes `causal`, and goes.
5. Past and new keys joined by Concat, and values too, become past_k, k, past_v, v: present_k and present_v are what the
   Concats made. Heads that are repeated for their neighbours are not. nonpad_kv_seqlen is key_lengths, with at_end.
6. An absent input is a constant of no elements; outputs that no one asked for have names that no one reads, since a
   plugin has all of its own. The domain `edgekit` is imported as version 1.
7. Nodes and constants that no one reads any more go. A model of which nothing is taken stays as it is.

Sources: ONNX operator specification, Attention-23 to 25; `edgekit.plugins.operators` for edgekit's own.
Shapes: N batch, h heads, h_kv of k and v, S steps, P past, D head size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx

from edgekit.plugins.operators import DOMAIN
from edgekit.rewrite import PassResult
from edgekit.rewrite.attention_behind import NotAttentionError
from edgekit.rewrite.attention_blocks import attention_blocks
from edgekit.rewrite.attention_graph import AttentionGraph
from edgekit.rewrite.attention_node import AttentionNode, attention_nodes
from edgekit.rewrite.attention_operator import attending_of_node, why_uncovered
from edgekit.rewrite.attention_parts import Attending, Head
from edgekit.rewrite.attention_pattern import attending_of
from edgekit.rewrite.attention_writer import AttentionWriter
from edgekit.rewrite.shapes_at import Known
from edgekit.rewrite.sort_nodes import sort_nodes
from edgekit.rewrite.unread import drop_unread

NODE, PRODUCTS = "node", "products"


@dataclass(frozen=True)
class Candidate:
    """An attention that could be taken. Sizes are 0 where unknown; `dtype` is ONNX's number of q's type.

    `name` is that of the Attention node, or with form PRODUCTS of the Softmax. `queries` is S_q and `keys` P + S_kv, as
    the `known` shapes have them. `has_rest`: key lengths, a window or a softcap.
    """

    name: str
    form: str
    dtype: int
    heads: int
    kv_heads: int
    head_size: int
    value_size: int
    has_cache: bool
    causal: bool
    has_bias: bool
    has_rest: bool
    queries: int = 0
    keys: int = 0


def attention_to_plugin(
    model: onnx.ModelProto, which: Callable[[Candidate], str], known: Mapping[str, Known] | None = None
) -> PassResult:
    """Rewrite in place; the notes say how many were taken, and how many were left and why.

    `which` returns "" to take one, or a reason to leave it. It is asked of those that could be taken. `known` is what
    `shapes_at` knows at the sizes that matter, and only tells `which` how long the sequences are.
    """
    nodes = {id(node) for node in model.graph.node if node.op_type in ("Attention", "Softmax")}
    if not nodes:
        return PassResult(model, False)
    taken, left = _chosen(model, which, known or {})
    total = len(taken) + sum(left.values())
    notes = tuple(f"{count} of {total} attentions stay as they are: {reason}" for reason, count in left.items())
    if not taken:
        return PassResult(model, False, notes)
    _rewrite(model, taken)
    return PassResult(model, True, (f"{len(taken)} of {total} attentions became EdgekitAttention", *notes))


def _chosen(
    model: onnx.ModelProto, which: Callable[[Candidate], str], known: Mapping[str, Known]
) -> tuple[list[Attending], Counter[str]]:
    """What is taken, and how many are left for which reason."""
    graph = AttentionGraph(model)
    items = {item.index: item for item in attention_nodes(model)}
    alike = {block.softmax for block in attention_blocks(model) if not block.is_node}
    taken, left, joined = [], Counter[str](), set[str]()
    for place, node in enumerate(graph.nodes):
        found = _found(graph, node, items.get(place))
        if found is None or (isinstance(found, str) and node.op_type == "Softmax" and node.name not in alike):
            continue
        reason = found if isinstance(found, str) else which(_candidate(found, known)) or _twice(found, joined)
        if reason:
            left[reason] += 1
        elif not isinstance(found, str):
            taken.append(found)
    return taken, left


def _found(graph: AttentionGraph, node: onnx.NodeProto, item: AttentionNode | None) -> Attending | str | None:
    """The attention that a node is, or why it is none of edgekit's; None of a node that cannot be one."""
    if item is not None:
        return why_uncovered(item) or attending_of_node(graph, item)
    if node.op_type != "Softmax" or node.domain:
        return None
    try:
        return attending_of(graph, node)
    except NotAttentionError as error:
        return str(error)


def _twice(found: Attending, joined: set[str]) -> str:
    """A reason where another attention already joins the same past and new keys."""
    names = {found.cache.present_k, found.cache.present_v} if found.cache is not None and found.cache.joins else set()
    if names & joined:
        return "its cache is that of another attention too"
    joined |= names
    return ""


def _candidate(found: Attending, known: Mapping[str, Known]) -> Candidate:
    scoring, sizes = found.scoring, found.sizes
    past = 0 if found.cache is None else _steps(Head(found.cache.past_k), known)
    new = _steps(found.k, known)
    return Candidate(
        found.node.name,
        NODE if found.node.op_type == "Attention" else PRODUCTS,
        sizes.dtype,
        sizes.heads,
        sizes.kv_heads,
        sizes.head_size,
        sizes.value_size,
        found.cache is not None,
        scoring.causal,
        bool(scoring.masks),
        bool(scoring.lengths or scoring.softcap) or max(scoring.window_left, scoring.window_right) >= 0,
        _steps(found.q, known),
        past + new if new and (past or found.cache is None) else 0,
    )


def _steps(head: Head, known: Mapping[str, Known]) -> int:
    shape = known[head.tensor].shape if head.tensor in known else None
    if shape is None:
        return 0
    return shape[1] if head.heads else shape[head.perm[2] if head.perm else 2]


def _rewrite(model: onnx.ModelProto, taken: list[Attending]) -> None:
    """Each goes to the place of the node that made its output."""
    writer = AttentionWriter(model)
    gone = {id(node) for item in taken for node in (item.last, *(item.cache.joins if item.cache else ()))}
    by_last = {id(item.last): item for item in taken}
    nodes = []
    for node in list(model.graph.node):
        if id(node) in by_last:
            nodes += writer.nodes(by_last[id(node)])
        elif id(node) not in gone:
            nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    if all(entry.domain != DOMAIN for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    model.ir_version = max(model.ir_version, 4)  # before, every initializer had to be an input as well
    sort_nodes(model)  # what reads a present key may stand before the attention that makes it now
    drop_unread(model)
