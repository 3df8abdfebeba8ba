"""Which targets a machine can build for and run, and why not: pure judgements on facts gathered elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.device.gpus import GpuSearch
from edgekit.device.jetson import Jetson
from edgekit.targets import Target

# targets.toml, [desktop]: TensorRT 10 or 11.
_DESKTOP_TENSORRT = ("10", "11")


@dataclass(frozen=True)
class Facts:
    """What the judgement rests on. `packages` maps a name to its version, None when it is not installed."""

    machine: str
    packages: Mapping[str, str | None]
    search: GpuSearch
    jetson: Jetson | None


@dataclass(frozen=True)
class Ability:
    """May this machine build for a target, and run it; each answer with its reason."""

    target: str
    build: bool
    build_reason: str
    run: bool
    run_reason: str


def judge(target: Target, facts: Facts) -> Ability:
    """Say whether a machine can build engines for `target` and run them."""
    judges = {"ort": _judge_ort, "tensorrt_rtx": _judge_rtx, "tensorrt": _judge_tensorrt}
    can_build, build_reason, can_run, run_reason = judges[target.flavour](target, facts)
    return Ability(target.name, can_build, build_reason, can_run, run_reason)


def _judge_ort(target: Target, facts: Facts) -> tuple[bool, str, bool, str]:
    version = facts.packages.get("onnxruntime")
    if version is None:
        return (*_no("onnxruntime is not installed"), *_no("onnxruntime is not installed"))
    return True, "there is nothing to build", True, f"onnxruntime {version} runs the ONNX itself"


def _judge_rtx(target: Target, facts: Facts) -> tuple[bool, str, bool, str]:
    version = facts.packages.get("tensorrt_rtx")
    if version is None:
        where = "has no package for aarch64" if facts.machine == "aarch64" else "is not installed"
        return (*_no(f"TensorRT-RTX {where}"), *_no(f"TensorRT-RTX {where}"))
    can_run, run_reason = _judge_gpu(target.compute_capabilities, facts)
    return True, f"TensorRT-RTX {version} builds without a GPU", can_run, run_reason


def _judge_tensorrt(target: Target, facts: Facts) -> tuple[bool, str, bool, str]:
    """Standard TensorRT builds only on the kind of GPU that it builds for: one obstacle stops both."""
    obstacle = _wrong_machine(target, facts) or _wrong_tensorrt(target, facts.packages.get("tensorrt"))
    if not obstacle:
        gpu_fits, why = _fitting_gpu(target.compute_capabilities, facts.search)
        obstacle = "" if gpu_fits else why
    if obstacle:
        return (*_no(obstacle), *_no(obstacle))
    can_run, run_reason = _judge_gpu(target.compute_capabilities, facts)
    return True, f"TensorRT {facts.packages['tensorrt']}", can_run, run_reason


def _wrong_machine(target: Target, facts: Facts) -> str:
    """Why a Jetson target is not for this machine, or the desktop target not for a Jetson; empty when it fits."""
    if not target.name.startswith("jetpack"):
        return "this is a Jetson: see the jetpack targets" if facts.jetson else ""
    if facts.jetson is None:
        return "this is no Jetson"
    capability = facts.jetson.compute_capability
    if capability and capability not in target.compute_capabilities:
        return f"this is a Jetson {facts.jetson.chip} (SM {capability})"
    return ""


def _wrong_tensorrt(target: Target, version: str | None) -> str:
    """Why this TensorRT does not serve the target; empty when it does. Engines need the same major and minor."""
    wanted = target.tensorrt or " or ".join(_DESKTOP_TENSORRT)
    if version is None:
        return f"TensorRT {wanted} is not installed where this Python looks"
    parts = version.split(".")
    fits = ".".join(parts[:2]) == target.tensorrt if target.tensorrt else parts[0] in _DESKTOP_TENSORRT
    return "" if fits else f"TensorRT is {version}, not {wanted}"


def reaches_gpu(packages: Mapping[str, str | None]) -> bool:
    """Whether a package is there by which the runtime has memory and streams of a GPU."""
    return any(packages.get(name) for name in ("pycuda", "cuda-bindings"))


def _judge_gpu(capabilities: tuple[str, ...], facts: Facts) -> tuple[bool, str]:
    """Running needs a fitting GPU, and pycuda or cuda-bindings for its memory and streams."""
    fits, reason = _fitting_gpu(capabilities, facts.search)
    if fits and not reaches_gpu(facts.packages):
        return _no(f"pycuda is not installed, nor is cuda-bindings; {reason}")
    return fits, reason


def _fitting_gpu(capabilities: tuple[str, ...], search: GpuSearch) -> tuple[bool, str]:
    """Is there a GPU of one of these compute capabilities (empty: of any); with its name or the reason."""
    if not search.gpus:
        return _no("there is no GPU that CUDA can use")  # `search.reason` tells why, once
    for index, gpu in enumerate(search.gpus):
        if not capabilities or gpu.compute_capability in capabilities:
            return True, f"GPU {index} is {gpu.name or 'of unknown name'}"
    found = ", ".join(gpu.compute_capability or "unknown" for gpu in search.gpus)
    return _no(f"compute capability is {found}, not {' or '.join(capabilities)}")


def _no(reason: str) -> tuple[bool, str]:
    return False, reason
