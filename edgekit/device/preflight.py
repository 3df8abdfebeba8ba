"""`edgekit doctor`: this machine's system, memory, packages, GPUs and Jetson, and what it can build and run."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from edgekit import __version__
from edgekit.configs import TARGETS
from edgekit.device.board import Board, read_board
from edgekit.device.gpus import LIBCUDA, GpuSearch, find_gpus
from edgekit.device.jetson import Jetson, find_jetson
from edgekit.device.memory import Memory, read_memory
from edgekit.device.readiness import Ability, Facts, judge
from edgekit.device.reading import lines
from edgekit.targets import target

# What edgekit calls a package, and the distributions that bring it, the likeliest first.
_DISTRIBUTIONS = {
    "numpy": ("numpy",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "onnx": ("onnx",),
    "torch": ("torch",),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "tensorrt_rtx": ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx"),
    "pycuda": ("pycuda",),
    "cuda-bindings": ("cuda-bindings",),
}


@dataclass(frozen=True)
class Preflight:
    """What a machine is and can do. A value that could not be read is None, never 0.

    `cpus` are those that this process may use; `packages` maps a name to its version, or to None when it is absent.
    `board` is the state of a Jetson, None elsewhere.
    """

    edgekit: str
    system: str
    machine: str
    python: str
    cpus: int | None
    memory_mib: int | None
    available_mib: int | None
    packages: dict[str, str | None]
    gpu: GpuSearch
    jetson: Jetson | None
    targets: tuple[Ability, ...]
    memory: Memory
    board: Board | None = None


def preflight(root: Path = Path("/"), library: str = LIBCUDA) -> Preflight:
    """Look at this machine; nothing is changed and no package is imported.

    `root` is where /etc, /proc, /sys and /var are read; `library` the CUDA driver, see `find_gpus`. Never raises for
    what a machine lacks: the lack is in the result, with its reason.
    """
    memory = read_memory(root)
    facts = Facts(platform.machine(), _package_versions(), find_gpus(library), find_jetson(root))
    return Preflight(
        edgekit=__version__,
        system=_operating_system(root),
        machine=facts.machine,
        python=platform.python_version(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        memory_mib=memory.total_mib,
        available_mib=memory.available_mib,
        packages=dict(facts.packages),
        gpu=facts.search,
        jetson=facts.jetson,
        targets=tuple(judge(target(name), facts) for name in TARGETS),
        memory=memory,
        board=read_board(facts.jetson, root) if facts.jetson else None,
    )


def _package_versions() -> dict[str, str | None]:
    """Versions from the installed metadata alone: importing torch to ask its version would take seconds."""
    return {name: _first_version(candidates) for name, candidates in _DISTRIBUTIONS.items()}


def _first_version(distributions: tuple[str, ...]) -> str | None:
    import importlib.metadata  # 40 ms, which rooms that only look for a GPU need not pay

    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _operating_system(root: Path) -> str:
    """PRETTY_NAME of os-release(5), else what the kernel calls itself."""
    for line in lines(root / "etc/os-release"):
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip("\"'")
    return f"{platform.system()} {platform.release()}"
