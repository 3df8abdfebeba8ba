"""LSTM, GRU and RNN: what the importer refuses, what becomes a loop, and what edgekit's kernels take."""

from __future__ import annotations

from dataclasses import replace

from edgekit.build import coverage_of
from edgekit.check.attention import STEPS
from edgekit.check.verdict import NodeVerdict, verdict
from edgekit.errors import EdgekitError
from edgekit.plugins.coverage import Place, library_for_plans
from edgekit.rewrite.element_types import PRECISIONS
from edgekit.rewrite.recurrent_node import RecurrentNode
from edgekit.targets import Device, Target

_HALF = ("fp16", "bf16")


def judge_recurrent(item: RecurrentNode, target: Target, device: Device | None, weights: str) -> NodeVerdict:
    """One node on a target whose TensorRT is not on this machine; `device` decides whether edgekit's kernels fit.

    `weights` is "keep", "fp16" for recurrent weights in FP16 where they are FP32, or empty where no kernels are wanted.
    """
    native = native_verdict(item)
    words = [native.reason]
    if native.outcome == "loop" and item.has_lengths and native.precision == "fp32":
        words.append("in FP16 the importer refuses it, since it has lengths")
    if target.plugins in ("", "none") or not weights:
        return replace(native, reason="; ".join(words))
    covers, said = _kernel(item, device, weights)
    if not covers:
        return replace(native, reason="; ".join([*words, said]))
    name, op = item.path + item.node.name, item.node.op_type
    reason = f"{said}; without it: {'; '.join(words)}"
    return verdict(name, op, "plugin", "plugin", reason, _computes(item, weights))


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


def place_of(device: Device) -> Place | None:
    """Where edgekit's kernels would run; None where no library can be built here to ask its plans."""
    if device.multiprocessors is None:
        return None
    try:
        library = library_for_plans()
    except EdgekitError:
        return None
    return Place(library, int(device.compute_capability.replace(".", "")), device.multiprocessors)


def _computes(item: RecurrentNode, weights: str) -> str:
    """What the kernel multiplies in: INT8 weights become FP16 there (plugins/README.md, "Numbers")."""
    half = item.int8 or weights == "fp16" or PRECISIONS.get(item.dtype, "") in _HALF
    return "fp16" if half else "fp32"


def _kernel(item: RecurrentNode, device: Device | None, weights: str) -> tuple[bool, str]:
    """Whether edgekit's kernel covers it on the device, and in how many blocks, or why not."""
    name = f"Edgekit{item.node.op_type}"
    if item.uncovered:
        return False, f"{name} does not cover it: {item.uncovered}"
    if not item.hidden:
        return False, f"{name}: the number of hidden units is not known"
    if device is None or device.multiprocessors is None:
        return False, f"{name} covers its form; --device says whether its weights fit"
    place = place_of(device)
    if place is None:
        return False, f"{name}: no launch plan could be asked; edgekit plugins build --emulator says why"
    found = coverage_of(item, place, weights)
    if found.reason:
        return False, f"{name} does not cover it on {device.name}: {found.reason}"
    kind = "INT8" if item.int8 else _computes(item, weights).upper()
    ctas = "1 CTA" if found.blocks == 1 else f"{found.blocks} CTAs"
    return True, (
        f"{name} covers it with {kind} weights: H = {item.hidden} takes {ctas} for eight rows of the batch "
        f"on {device.name}; {STEPS}"
    )
