"""What an engine is bound to besides its GPU: the operating system and the CPU's architecture.

TensorRT's engines are not portable across platforms: "Engine Portability" in
https://docs.nvidia.com/deeplearning/tensorrt/latest/getting-started/support-matrix.html
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

_SAME = {"amd64": "x86_64", "arm64": "aarch64"}  # Windows and macOS call them otherwise


@dataclass(frozen=True)
class Host:
    """In small letters, such as linux and aarch64."""

    os: str
    architecture: str


def this_host() -> Host:
    """That of this process."""
    machine = platform.machine().lower()
    return Host(platform.system().lower(), _SAME.get(machine, machine))
