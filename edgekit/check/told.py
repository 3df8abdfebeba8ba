"""Verdicts on a TensorRT that is not on this machine, from what its documentation says and from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx

from edgekit.check.asked import Before, precision_of
from edgekit.check.verdict import NodeVerdict, verdict, walk
from edgekit.rewrite.names import ONNX_DOMAINS
from edgekit.rewrite.shapes_at import Known
from edgekit.targets import Device, Target, imported, precision_support, restriction

_NUMBERS = ("fp32", "fp16", "bf16", "int8", "fp8", "int4")


def tell(before: Before, target: Target, device: Device | None) -> tuple[NodeVerdict, ...]:
    """A verdict a node, those inside of If, Loop and Scan too, with the place in front of their names."""
    return tuple(
        before.told.get(path + node.name) or _by_operator(path + node.name, node, before.known, target, device)
        for path, node in walk(before.nodes)
    )


def _by_operator(
    name: str, node: onnx.NodeProto, known: Mapping[str, Known], target: Target, device: Device | None
) -> NodeVerdict:
    precision, op = precision_of(node, known), node.op_type
    if node.domain not in ONNX_DOMAINS:
        reason = f"TensorRT imports no operators of {node.domain}"
        return verdict(name, f"{node.domain}::{op}", "refused", "foreign-domain", reason, precision)
    refused = _precision_refused(precision, target, device)
    if refused:
        return verdict(name, op, "refused", "precision", refused, precision)
    answer = imported(op, target)
    if answer is False:
        return verdict(
            name, op, "refused", "no-importer", f"TensorRT {target.tensorrt} does not import {op}", precision
        )
    if answer is None:
        return verdict(name, op, "unknown", "not-in-list", f"whether {op} is imported is not known", precision)
    if precision == "fp64":
        return verdict(name, op, "parses", "double", "TensorRT casts FP64 down to FP32", precision)
    made = verdict(name, op, "parses", "no-importer", restriction(op, target), precision)
    return replace(made, remedy="")


def _precision_refused(precision: str, target: Target, device: Device | None) -> str:
    """Why no GPU of the target computes so, or the device does not; empty where it does, or where it is not known."""
    if precision not in _NUMBERS:
        return ""
    capabilities = (device.compute_capability,) if device is not None else target.compute_capabilities
    answers = [precision_support(target.flavour, capability, precision) for capability in capabilities]
    if answers and all(answer is False for answer in answers):
        where = device.name if device is not None else "SM " + " and ".join(capabilities)
        return f"{where} has no {precision.upper()}"
    return ""
