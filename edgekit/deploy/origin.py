"""What a bundle tells of its making: from what, by which tools, how its numbers came to be, what was promised."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

from edgekit.bundle import QuantizationEntry
from edgekit.models import ARCHITECTURES
from edgekit.quantize import QuantizeReport
from edgekit.rewrite.scales import scales_sha256

# What reads, writes or judges an ONNX; and what made it, where it was exported here.
_TOOLS = ("numpy", "onnx", "onnxruntime")
_EXPORTERS = ("torch", "torchvision", "transformers")


def family_of(architecture: str) -> str:
    """The family of one of edgekit's architectures; empty for another."""
    known = ARCHITECTURES.get(architecture)
    return known.family if known else ""


def quantization_entry(report: QuantizeReport | None, model: Any) -> QuantizationEntry:
    """How `model`, the ONNX proto in the bundle, got its precision."""
    digest = scales_sha256(model)  # of a model that came quantized too
    if report is None:
        return QuantizationEntry(scales_sha256=digest)
    return QuantizationEntry(report.method, digest, report.calibration_sha256, report.calibration_samples)


def tools(exported: bool) -> dict[str, str]:
    """The versions of what made the bundle; TensorRT's stands with its engine."""
    versions = {"python": platform.python_version()}
    for package in (*_TOOLS, *(_EXPORTERS if exported else ())):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # no torchvision is needed for a network of the user's own
            continue
    return versions
