"""Which backend opens a bundle here, and why: `auto` prefers an engine for this very GPU and always says so."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass

from edgekit.bundle import EngineEntry, Manifest
from edgekit.errors import SessionError, TargetError

_FLAVOURS = {"trt": "tensorrt", "rtx": "tensorrt_rtx"}
_MEMORY = ("pycuda", "cuda.bindings")


@dataclass(frozen=True)
class Choice:
    """`engine` is None for onnxruntime; `reason` is one sentence for `health()` and the log."""

    backend: str
    engine: EngineEntry | None
    reason: str


def choose(manifest: Manifest, backend: str) -> tuple[Choice, ...]:
    """What to open for `backend`, auto, ort, trt or rtx, the best first.

    Only auto has more than engines of one kind: it ends with onnxruntime, and says why no engine was chosen.
    """
    if backend == "ort":
        return (Choice("ort", None, "asked for"),)
    if backend in _FLAVOURS:
        found = _ranked([engine for engine in manifest.engines if engine.flavour == _FLAVOURS[backend]])
        if not found:
            raise TargetError(f"expected an engine for {backend} in the bundle, found none", "--backend ort")
        return tuple(Choice(backend, engine, "asked for") for engine in found)
    if backend != "auto":
        raise SessionError(f"expected backend auto, ort, trt or rtx, found {backend!r}")
    return _automatic(manifest)


def backend_of(flavour: str) -> str:
    """The backend that runs engines of this flavour of TensorRT; a flavour that has none keeps its own name."""
    return next((name for name, known in _FLAVOURS.items() if known == flavour), flavour)


def _automatic(manifest: Manifest) -> tuple[Choice, ...]:
    if not manifest.engines:
        return (Choice("ort", None, "the bundle has no engine"),)
    from edgekit.device import find_gpus

    search = find_gpus()
    if not search.gpus:
        return (Choice("ort", None, f"no GPU here: {search.reason}"),)
    capability = search.gpus[0].compute_capability
    fitting = [engine for engine in manifest.engines if capability in engine.compute_capabilities]
    runnable = [engine for engine in fitting if _installed(engine.flavour) and any(map(_installed, _MEMORY))]
    if runnable:
        reasons = ((engine, f"{engine.file} is for compute capability {capability}") for engine in _ranked(runnable))
        engines = tuple(Choice(backend_of(engine.flavour), engine, reason) for engine, reason in reasons)
        return (*engines, Choice("ort", None, "no engine of the bundle loads here"))
    built = ", ".join(sorted({item for engine in manifest.engines for item in engine.compute_capabilities}))
    missing = "with its TensorRT and pycuda or cuda-bindings"
    return (Choice("ort", None, f"no engine for compute capability {capability} {missing} (built: {built})"),)


def _ranked(engines: list[EngineEntry]) -> list[EngineEntry]:
    """Those that were made by the very TensorRT that is installed come first."""
    return sorted(engines, key=lambda engine: engine.version != installed_version(engine.flavour))


def installed_version(flavour: str) -> str:
    """The installed version of a flavour of TensorRT, without importing it; empty where there is none."""
    for package in (flavour, f"{flavour}_cu13", f"{flavour}_cu12"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _installed(module: str) -> bool:
    """Without importing it; a folder that only holds type stubs has a spec, but no file that it starts from."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # of cuda.bindings, cuda itself
        return False
    return spec is not None and spec.origin is not None
