"""What this machine has, and for which targets it can build and run."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from edgekit import __version__
from edgekit.configs import TARGETS
from edgekit.device.gpus import GpuSearch, find_gpus
from edgekit.device.jetson import Jetson, find_jetson
from edgekit.targets import Target, target

# What to call a package, and the names under which it is distributed.
_PACKAGES = {
    "numpy": ("numpy",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "onnx": ("onnx",),
    "torch": ("torch",),
    "tensorrt_rtx": ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx"),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "pycuda": ("pycuda",),
    "cuda-bindings": ("cuda-bindings",),
}


@dataclass(frozen=True)
class Ability:
    """Whether this machine can build for a target and run its bundles there, each with the reason."""

    target: str
    build: bool
    build_reason: str
    run: bool
    run_reason: str


@dataclass(frozen=True)
class Preflight:
    """Facts; a missing one is None, never 0."""

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


def preflight(root: Path = Path("/"), library: str = "libcuda.so.1") -> Preflight:
    """Look at the machine under `root`; nothing is imported but the standard library, and nothing is changed."""
    packages = {name: _version(names) for name, names in _PACKAGES.items()}
    gpu = find_gpus(library)
    memory = _memory_mib(root)
    return Preflight(
        edgekit=__version__,
        system=platform.platform(),
        machine=platform.machine(),
        python=platform.python_version(),
        cpus=os.cpu_count(),
        memory_mib=memory.get("MemTotal"),
        available_mib=memory.get("MemAvailable"),
        packages=packages,
        gpu=gpu,
        jetson=find_jetson(root),
        targets=tuple(_ability(target(name), packages, gpu) for name in TARGETS),
    )


def summary_lines(found: Preflight) -> list[str]:
    """The text form, for a person at that machine."""
    lines = [
        f"edgekit {found.edgekit}, Python {found.python}, {found.system}",
        f"CPU      {_known(found.cpus)} cores, {found.machine}",
        f"memory   {_known(found.available_mib)} of {_known(found.memory_mib)} MiB free",
    ]
    if found.jetson:
        lines.append(f"Jetson   {_known(found.jetson.model)}, Jetson Linux {_known(found.jetson.l4t)}")
    for gpu in found.gpu.gpus:
        shared = ", shared with the CPU" if gpu.integrated else ""
        lines.append(
            f"GPU      {gpu.name}, compute capability {gpu.compute_capability}, {_known(gpu.memory_mib)} MiB{shared}"
        )
    if not found.gpu.gpus:
        lines.append(f"GPU      none: {found.gpu.reason}")
    if found.gpu.driver:
        lines.append(f"driver   CUDA {found.gpu.driver}")
    lines += [f"package  {name} {version or 'not installed'}" for name, version in found.packages.items()]
    for item in found.targets:
        lines.append(f"target   {item.target:<11} build: {_yes(item.build)} ({item.build_reason})")
        lines.append(f"         {'':<11} run:   {_yes(item.run)} ({item.run_reason})")
    return lines


def _ability(kind: Target, packages: dict[str, str | None], gpu: GpuSearch) -> Ability:
    if kind.flavour == "ort":
        return Ability(kind.name, True, "onnxruntime runs the ONNX itself", True, "onnxruntime")
    version = packages[kind.flavour]
    matches = version is not None and (not kind.tensorrt or version.startswith(kind.tensorrt + "."))
    wanted = "TensorRT-RTX" if kind.flavour == "tensorrt_rtx" else f"TensorRT {kind.tensorrt or '10 or 11'}"
    missing = f"{wanted} is not installed" if version is None else f"found {version}, expected {wanted}"
    build = matches and (kind.flavour == "tensorrt_rtx" or bool(gpu.gpus))
    build_reason = f"{kind.flavour} {version}" if build else missing if not matches else gpu.reason
    capable = bool(set(gpu.compute_capabilities) & set(kind.compute_capabilities or gpu.compute_capabilities))
    run_reason = f"{kind.flavour} {version} on {gpu.gpus[0].name}" if gpu.gpus else gpu.reason
    if gpu.gpus and not capable:
        run_reason = f"compute capability {', '.join(gpu.compute_capabilities)} is not of this target"
    elif gpu.gpus and not matches:
        run_reason = missing
    return Ability(kind.name, build, build_reason, capable and matches, run_reason)


def _version(names: tuple[str, ...]) -> str | None:
    import importlib.metadata  # 40 ms, which rooms that only look for a GPU need not pay

    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _memory_mib(root: Path) -> dict[str, int]:
    """MemTotal and MemAvailable of /proc/meminfo, which counts in KiB."""
    try:
        text = (root / "proc/meminfo").read_text()
    except OSError:
        return {}
    return {name: int(kib) // 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}


def _known(value: object) -> object:
    return "unknown" if value is None else value


def _yes(value: bool) -> str:
    return "yes" if value else "no"
