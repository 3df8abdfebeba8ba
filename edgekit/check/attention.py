"""Attention: as one node, taken apart, or written as products and a softmax, and where a cache is copied every step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import onnx

from edgekit.build import why_not_attention
from edgekit.build.attention import why_decomposed
from edgekit.check.verdict import NodeVerdict, node_rules, verdict
from edgekit.plugins.coverage import Place
from edgekit.rewrite.attention_blocks import attention_blocks
from edgekit.rewrite.attention_node import AttentionNode, attention_nodes
from edgekit.rewrite.attention_to_plugin import NODE, Candidate
from edgekit.rewrite.element_types import PRECISIONS
from edgekit.targets import Target

STEPS = "the device needs `edgekit plugins build` first, and its TensorRT headers"


def attention_verdicts(model: onnx.ModelProto, target: Target) -> dict[str, NodeVerdict]:
    """What is known of each attention before anything is built: by the name of its Attention or Softmax node."""
    found = {item.node.name: _of_node(item, target) for item in attention_nodes(model)}
    cached = _readers_of_a_cache(model)
    for block in attention_blocks(model):
        if not block.is_node and {block.first, block.second} & cached:
            reason = f"its keys and values come with a cache, which is copied every step{_kernel(target)}"
            found[block.softmax] = replace(
                verdict(block.softmax, "Softmax", "parses", "attention-cache", reason), precision=""
            )
    return found


def _of_node(item: AttentionNode, target: Target) -> NodeVerdict:
    name, precision = item.node.name, PRECISIONS.get(item.dtype, "")
    has_cache = bool(item.input(4) or item.output(1))
    why = "" if target.imports_attention else f"TensorRT {target.tensorrt} has no importer for Attention"
    rule = "attention-decomposed" if target.imports_attention else "attention-no-importer"
    why = why or why_decomposed(item)
    if not why:
        return verdict(name, "Attention", "parses", "attention-node", "", precision)
    made = verdict(name, "Attention", "decomposed", rule, f"{why}: it is taken apart", precision)
    if not has_cache:
        return made
    cache = node_rules()["attention-cache"]
    reason = f"{made.reason}; its cache is copied every step{_kernel(target)}"
    return replace(made, reason=reason, remedy=cache.remedy)


def _kernel(target: Target) -> str:
    if target.plugins == "none":
        return ", since this target takes no plugins"
    return ""


def with_kernels(
    told: dict[str, NodeVerdict], candidates: Iterable[Candidate], place: Place | None
) -> dict[str, NodeVerdict]:
    """The verdicts on attentions that edgekit's kernel takes; without a `place` only words on what would say so."""
    found = {}
    for item in candidates:
        if why_not_attention(item, place):
            continue
        native = told.get(item.name)
        op = "Attention" if item.form == NODE else "Softmax"
        words = [f"EdgekitAttention covers it{', with its cache' if item.has_cache else ''}"]
        words.append(STEPS if place is not None else "--device says whether it fits")
        reason = native.reason if native is not None else ""
        precision = PRECISIONS.get(item.dtype, "")
        if place is not None:
            words += [f"without it: {reason}"] if reason else []
            found[item.name] = verdict(item.name, op, "plugin", "plugin", "; ".join(words), precision)
        elif native is not None:
            found[item.name] = replace(native, reason="; ".join(filter(None, (reason, *words))))
    return found


def _readers_of_a_cache(model: onnx.ModelProto) -> set[str]:
    """The products behind a Concat of a tensor that is fed with new keys or values, whose result is an output."""
    graph = model.graph
    fed = {value.name for value in graph.input}
    given = {value.name for value in graph.output}
    behind = {
        name
        for node in graph.node
        if node.op_type == "Concat" and fed.intersection(node.input) and given.intersection(node.output)
        for name in node.output
    }
    for node in graph.node:  # sorted: one pass follows what only moves or scales
        moved = node.op_type in ("Transpose", "Reshape", "Mul", "Expand", "Unsqueeze", "Cast", "Identity")
        if moved and behind.intersection(node.input):
            behind.update(node.output)
    return {node.name for node in graph.node if node.op_type == "MatMul" and behind.intersection(node.input)}
