"""What each target, device and GPU architecture takes: data in TOML files beside this one, every value with its source.

What is not known is left out: an empty text or tuple, or None, and never a guess. Nothing is read before it is asked.
"""

from __future__ import annotations

from typing import Any

from edgekit.targets.devices import Device, device, device_names
from edgekit.targets.kinds import Target, sm_names, target
from edgekit.targets.operators import imported, restriction
from edgekit.targets.precisions import PRECISIONS, precision_source, precision_support

__all__ = [
    "DEVICES",
    "PRECISIONS",
    "Device",
    "Target",
    "device",
    "imported",
    "precision_source",
    "precision_support",
    "restriction",
    "sm_names",
    "target",
]

DEVICES: tuple[str, ...]


def __getattr__(name: str) -> Any:
    """DEVICES, the names that `device` knows, read when first asked for."""
    if name == "DEVICES":
        return device_names()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
