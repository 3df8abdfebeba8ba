"""`edgekit doctor`: this machine's system, memory, packages, GPUs and Jetson, and what it can build and run."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from edgekit import __version__
from edgekit.configs import TARGETS
from edgekit.device.gpus import LIBCUDA, GpuSearch, find_gpus
from edgekit.device.jetson import Jetson, find_jetson
from edgekit.device.readiness import Ability, Facts, judge
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


def preflight(root: Path = Path("/"), library: str = LIBCUDA) -> Preflight:
    """Look at this machine; nothing is changed and no package is imported.

    `root` is where /etc, /proc and /var are read; `library` the CUDA driver, see `find_gpus`. Never raises for what
    a machine lacks: the lack is in the result, with its reason.
    """
    memory = _memory_mib(root)
    facts = Facts(platform.machine(), _package_versions(), find_gpus(library), find_jetson(root))
    return Preflight(
        edgekit=__version__,
        system=_operating_system(root),
        machine=facts.machine,
        python=platform.python_version(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        memory_mib=memory.get("MemTotal"),
        available_mib=memory.get("MemAvailable"),
        packages=dict(facts.packages),
        gpu=facts.search,
        jetson=facts.jetson,
        targets=tuple(judge(target(name), facts) for name in TARGETS),
    )


def summary_lines(found: Preflight) -> list[str]:
    """The text of `edgekit doctor`: facts, targets with reasons, advice, and the command that comes next."""
    return [*_fact_lines(found), "", *_target_lines(found.targets), "", *_advice(found), f"next: {_next(found)}"]


def _fact_lines(found: Preflight) -> list[str]:
    present = [f"{name} {version}" for name, version in found.packages.items() if version]
    absent = [name for name, version in found.packages.items() if not version]
    rows = [
        ("edgekit", found.edgekit),
        ("system", f"{found.system}, {found.machine}, Python {found.python}"),
        ("CPUs", _or_unknown(found.cpus)),
        ("memory", f"{_or_unknown(found.memory_mib, ' MiB')}, "
                   f"{_or_unknown(found.available_mib, ' MiB')} available"),
        ("Jetson", _jetson_text(found.jetson)),
        ("CUDA", f"the driver serves CUDA {found.gpu.driver}" if found.gpu.driver else "no driver"),
    ]  # fmt: skip
    for index, gpu in enumerate(found.gpu.gpus):
        memory = _or_unknown(gpu.memory_mib, " MiB") + (", shared with the CPU" if gpu.integrated else "")
        rows.append((f"GPU {index}", f"{_or_unknown(gpu.name)}, SM {_or_unknown(gpu.compute_capability)}, {memory}"))
    if found.gpu.reason:
        rows.append(("GPU", f"{'partly read' if found.gpu.gpus else 'none'}: {found.gpu.reason}"))
    rows += [("packages", ", ".join(present)), ("absent", ", ".join(absent) or "none")]
    return [f"{name:<9} {value}" for name, value in rows]


def _jetson_text(jetson: Jetson | None) -> str:
    if jetson is None:
        return "no"
    name = jetson.model or f"unknown model, {jetson.chip or 'unknown chip'}"
    return f"{name}, JetPack {_or_unknown(jetson.jetpack)}, Jetson Linux {_or_unknown(jetson.l4t)}"


def _target_lines(targets: tuple[Ability, ...]) -> list[str]:
    lines = [f"{'target':<10} {'build':<5} {'run':<4} why"]
    for item in targets:
        same = item.build_reason == item.run_reason
        why = item.run_reason if same else f"build: {item.build_reason}; run: {item.run_reason}"
        lines.append(f"{item.target:<10} {_yes(item.build):<5} {_yes(item.run):<4} {why}")
    return lines


def _advice(found: Preflight) -> list[str]:
    """What a person on this device could do, most useful first; never done for them."""
    advice = []
    if found.jetson and not found.packages.get("tensorrt"):
        advice.append(
            "TensorRT's Python comes with JetPack: sudo apt install python3-libnvinfer, then make the virtual "
            "environment with python3 -m venv --system-site-packages"
        )
    if found.gpu.gpus and not found.packages.get("pycuda"):
        advice.append("engines need pycuda to run: pip install pycuda")
    if not found.jetson and found.machine == "x86_64" and not found.packages.get("tensorrt_rtx"):
        advice.append("engines for desktop GPUs can be built here: pip install tensorrt-rtx-cu13")
    if found.jetson:
        advice.append("before measuring: sudo nvpmodel -q shows the power mode, sudo jetson_clocks holds the clocks")
    return [f"advice: {line}" for line in advice]


def _next(found: Preflight) -> str:
    """The command for the best target: an engine that runs here, else one that builds here, else the CPU."""
    engines = [item for item in found.targets if item.target != "cpu" and item.build]
    ranked = [*(item for item in engines if item.run), *engines]
    runnable = any(item.target == "cpu" and item.run for item in found.targets)
    if not ranked and not runnable:
        return "pip install . in edgekit's checkout"
    return f"edgekit deploy MODEL OUT_DIR --target {ranked[0].target if ranked else 'cpu'}"


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
    for line in _lines(root / "etc/os-release"):
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip("\"'")
    return f"{platform.system()} {platform.release()}"


def _memory_mib(root: Path) -> dict[str, int]:
    """The lines `MemTotal:  24683520 kB` of /proc/meminfo, in MiB; its kB are KiB (proc_meminfo(5))."""
    values = {}
    for line in _lines(root / "proc/meminfo"):
        words = line.replace(":", " ").split()
        if len(words) == 3 and words[1].isdecimal() and words[2] == "kB":
            values[words[0]] = int(words[1]) >> 10
    return values


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _or_unknown(value: object, unit: str = "") -> str:
    return "unknown" if value is None else f"{value}{unit}"


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"
