"""LSTM, GRU and RNN: what the importer refuses, what becomes a loop, and what edgekit's kernels would take."""

from __future__ import annotations

from dataclasses import replace

from edgekit.check.verdict import PRECISIONS, NodeVerdict, verdict
from edgekit.errors import EdgekitError
from edgekit.plugins.coverage import Size, library_for_plans, recurrent_coverage
from edgekit.rewrite.recurrent_node import RecurrentNode
from edgekit.targets import Device, Target

_HALF = ("fp16", "bf16")
_NOT_YET = "build-engine does not put edgekit's kernels into engines yet"


def judge_recurrent(item: RecurrentNode, target: Target, device: Device | None) -> NodeVerdict:
    """One node on a target whose TensorRT is not on this machine; `device` decides whether the kernels fit."""
    native = native_verdict(item)
    words = [native.reason]
    if native.outcome == "loop" and item.has_lengths:
        words.append("in FP16 the importer refuses it, since it has lengths")
    if target.plugins != "none":
        words.append(plugin_words(item, device))
    return replace(native, reason="; ".join(words))


def native_verdict(item: RecurrentNode) -> NodeVerdict:
    """What TensorRT's own importer does with it."""
    node, op, precision = item.path + item.node.name, item.node.op_type, PRECISIONS.get(item.dtype, "")
    if precision in _HALF and item.has_lengths:
        reason = f"the native importer refuses {precision.upper()} with lengths"
        return verdict(node, op, "refused", "lengths-in-half", reason, precision)
    if op == "GRU" and item.int8_per_axis and item.linear_before_reset:
        return verdict(node, op, "refused", "gru-per-axis", "its INT8 weights have one scale a row", precision)
    if item.uncovered == "its input and forget gates are coupled":
        return verdict(node, op, "refused", "recurrent-form", item.uncovered, precision)
    steps = f"a loop of {item.steps} steps" if item.steps else "a loop over its steps"
    return verdict(node, op, "loop", "loop", f"TensorRT makes {steps} of it", precision)


def plugin_words(item: RecurrentNode, device: Device | None) -> str:
    """Whether edgekit's kernel covers it on the device, in how many blocks."""
    name = f"Edgekit{item.node.op_type}"
    if item.uncovered:
        return f"{name} does not cover it: {item.uncovered}"
    if not item.hidden:
        return f"{name}: the number of hidden units is not known"
    if device is None or device.multiprocessors is None:
        return f"{name} covers its form; --device says whether its weights fit"
    weights = "int8" if item.int8 else "fp16"
    size = Size(
        item.node.op_type,
        max(item.steps, 1),
        max(item.batch, 1),
        item.hidden,
        item.directions,
        weights,
        item.linear_before_reset,
    )
    try:
        found = recurrent_coverage(
            library_for_plans(), size, int(device.compute_capability.replace(".", "")), device.multiprocessors
        )
    except EdgekitError as error:
        return f"{name}: no launch plan could be asked, {error.problem}"
    if not found.covers:
        return f"{name} does not cover it on {device.name}: {found.reason}"
    ctas = "1 CTA" if found.blocks == 1 else f"{found.blocks} CTAs"
    return (
        f"{name} covers it with {weights.upper()} weights: H = {item.hidden} takes {ctas} for eight rows of the batch "
        f"on {device.name}; {_NOT_YET}"
    )
