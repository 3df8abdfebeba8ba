"""Does the engine compute in the precision that was asked for? The multiply-adds of its layers, by precision.

A node counts in the precision of the fused layer that computes it. TensorRT leaves the nodes of a recurrence out of its
layers' metadata, and may print no layers at all; such a node counts in the type of its first operand in the ONNX, which
a strongly typed network keeps (TensorRT developer guide, "Strongly Typed Networks").
"""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx

from edgekit.build.layers import NUMBERS, Layer
from edgekit.errors import BuildError, UsageError
from edgekit.plugins.operators import OPERATORS
from edgekit.rewrite.attention_blocks import AttentionBlock, attention_blocks
from edgekit.rewrite.element_types import PRECISIONS
from edgekit.rewrite.multiply_adds import Work, multiply_adds
from edgekit.rewrite.recurrent_node import KINDS
from edgekit.rewrite.shapes_at import shapes_at
from edgekit.shapes import Profile

# Loops, whose layers do not name their node, and plugins, whose first input is not what they multiply.
_AS_ONNX_SAYS = (*KINDS, *OPERATORS)
_REQUIRED = re.compile(r"([a-z0-9]+(?:\+[a-z0-9]+)*)=([0-9.]+)")
_MOST_NAMED = 8
# INT4 and FP4 weights are multiplied in another precision.
_COMPUTED = tuple(name for name in NUMBERS if name not in ("int4", "fp4"))


@dataclass(frozen=True)
class Compute:
    """The multiply-adds at the opt shapes of the first profile, their shares (0 .. 1) by precision, and the nodes whose
    size is not known there, which no share counts."""

    total_macs: int = 0
    shares: dict[str, float] | None = None
    unsized: tuple[str, ...] = ()


@dataclass(frozen=True)
class AttentionCount:
    """How many attentions the model has, and how many of them became one fused kernel."""

    blocks: int = 0
    fused: int = 0


@dataclass(frozen=True)
class Accounts:
    """The layers with their multiply-adds, and the sums; `work` has each node's precision."""

    layers: tuple[Layer, ...]
    compute: Compute
    attention: AttentionCount
    work: tuple[tuple[Work, str], ...]


def account(model: onnx.ModelProto, profile: Profile, layers: Sequence[Layer]) -> Accounts:
    """Account for the work of `model`, as TensorRT parsed it, in the layers of its engine."""
    known = shapes_at(model, {item.name: item.opt for item in profile})
    places = layer_of_nodes(layers)
    macs, work = [0] * len(layers), []
    for item in multiply_adds(model, known):
        at = places.get(item.node)
        precision = PRECISIONS.get(item.dtype, "unknown")
        if at is not None and item.op_type not in _AS_ONNX_SAYS and layers[at].computes:
            precision = layers[at].computes
            macs[at] += item.macs or 0
        work.append((item, precision))
    counted = tuple(replace(layer, macs=count) for layer, count in zip(layers, macs, strict=True))
    blocks = attention_blocks(model)
    fused = sum(_is_fused(block, layers) for block in blocks)
    return Accounts(counted, _compute(work), AttentionCount(len(blocks), fused), tuple(work))


def layer_of_nodes(layers: Sequence[Layer]) -> dict[str, int]:
    """The layer that computes each node: of those that name it rather no move and no generated code."""
    best: dict[str, tuple[int, int]] = {}
    for at, layer in enumerate(layers):
        rank = 0 if layer.is_attention else 3 if layer.moves_only or not layer.computes else 1
        rank += layer.kind == "kgen" and not layer.is_attention
        for node in layer.nodes:
            best[node] = min(best.get(node, (9, 0)), (rank, at))
    return {node: at for node, (_, at) in best.items()}


def _compute(work: Sequence[tuple[Work, str]]) -> Compute:
    by_precision: collections.Counter[str] = collections.Counter()
    for item, precision in work:
        by_precision[precision] += item.macs or 0
    total = sum(by_precision.values())
    shares = {name: round(macs / total, 6) for name, macs in by_precision.most_common() if macs}
    return Compute(total, shares, tuple(item.node for item, _ in work if item.macs is None))


def _is_fused(block: AttentionBlock, layers: Sequence[Layer]) -> bool:
    if block.is_node:
        return any(layer.is_attention and block.softmax in layer.nodes for layer in layers)
    return any({block.first, block.softmax, block.second} <= set(layer.nodes) for layer in layers)


def parse_required(text: str) -> tuple[tuple[str, ...], float]:
    """Read `fp16=0.9`, or `int8+fp16=0.9` where either will do. Raises UsageError for anything else."""
    found = _REQUIRED.fullmatch(text)
    names = tuple(found[1].split("+")) if found else ()
    try:
        share = float(found[2]) if found else -1.0
    except ValueError:
        share = -1.0
    if not names or not set(names) <= set(_COMPUTED) or not 0 < share <= 1:
        raise UsageError(
            f"expected a precision and a share, found {text!r}",
            f"--require-precision fp16=0.9, with one of {', '.join(_COMPUTED)}, or several joined by +",
        )
    return names, share


def _part(item: Work, total: int) -> str:
    return "size unknown" if item.macs is None else f"{item.macs / total:.1%}"


def check_required(required: tuple[str, ...], accounts: Accounts) -> None:
    """Raise BuildError, with the nodes at fault, where less of the compute runs in a precision than was required."""
    for text in required:
        names, least = parse_required(text)
        shares = accounts.compute.shares or {}
        share = sum(shares.get(name, 0.0) for name in names)
        others = [(item, precision) for item, precision in accounts.work if precision not in names]
        unknown = [item for item, _ in others if item.macs is None]
        unsized_only = not accounts.compute.total_macs and accounts.work
        if (share >= least or unsized_only) and not unknown:
            continue
        total = max(accounts.compute.total_macs, 1)
        others.sort(key=lambda pair: -(pair[0].macs or 0))
        told = [f"{item.node} ({precision}, {_part(item, total)})" for item, precision in others]
        more = f" and {len(told) - _MOST_NAMED} more" if len(told) > _MOST_NAMED else ""
        listed = f"not so {', '.join(told[:_MOST_NAMED])}{more}" if told else "nothing that multiplies was found"
        wanted = "+".join(names)
        raise BuildError(
            f"expected {least:.0%} of the multiply-adds in {wanted}, found {share:.1%}; {listed}",
            f"the FP32 model through edgekit quantize --precision {wanted}" if names != ("fp32",) else "the FP32 model",
        )
