"""Which backend opens a bundle here, and why: `auto` prefers an engine for this very GPU and always says so."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.bundle import EngineEntry, Manifest
from edgekit.errors import SessionError, TargetError
from edgekit.runtime.fit import REBUILD, engine_fits, installed, installed_version, mismatch

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

    Only auto has more than engines of one kind: it ends with onnxruntime, and says why no engine was chosen. Raises
    TargetError where the asked backend has no engine in the bundle, or none that could run on this device.
    """
    if backend == "ort":
        return (Choice("ort", None, "asked for"),)
    if backend in _FLAVOURS:
        return tuple(Choice(backend, engine, "asked for") for engine in _asked(manifest, backend))
    if backend != "auto":
        raise SessionError(f"expected backend auto, ort, trt or rtx, found {backend!r}")
    return _automatic(manifest)


def backend_of(flavour: str) -> str:
    """The backend that runs engines of this flavour of TensorRT; a flavour that has none keeps its own name."""
    return next((name for name, known in _FLAVOURS.items() if known == flavour), flavour)


def _asked(manifest: Manifest, backend: str) -> list[EngineEntry]:
    """The engines of a backend; what is not installed is for whoever loads them to say."""
    found = [engine for engine in manifest.engines if engine.flavour == _FLAVOURS[backend]]
    if not found:
        raise TargetError(f"expected an engine for {backend} in the bundle, found none", "--backend ort")
    fits = engine_fits(found)
    able = [engine for engine, fit in zip(found, fits, strict=True) if not fit.foreign]
    if not able:
        raise TargetError(f"expected an engine that runs here, found none: {mismatch(fits)}", REBUILD)
    return _ranked(able)


def _automatic(manifest: Manifest) -> tuple[Choice, ...]:
    if not manifest.engines:
        return (Choice("ort", None, "the bundle has no engine"),)
    from edgekit.device import find_gpus

    search = find_gpus()
    if not search.gpus:
        return (Choice("ort", None, f"no GPU here: {search.reason}"),)
    capability = search.gpus[0].compute_capability
    fits = engine_fits(manifest.engines, search)
    able = [
        engine
        for engine, fit in zip(manifest.engines, fits, strict=True)
        if not fit.foreign and capability in engine.compute_capabilities
    ]
    if not able:
        return (Choice("ort", None, mismatch(fits)),)
    runnable = [engine for engine in able if installed(engine.flavour) and any(map(installed, _MEMORY))]
    if not runnable:
        missing = "with its TensorRT and pycuda or cuda-bindings"
        return (Choice("ort", None, f"no engine for compute capability {capability} {missing}"),)
    reasons = ((engine, f"{engine.file} is for compute capability {capability}") for engine in _ranked(runnable))
    engines = tuple(Choice(backend_of(engine.flavour), engine, reason) for engine, reason in reasons)
    return (*engines, Choice("ort", None, "no engine of the bundle loads here"))


def _ranked(engines: list[EngineEntry]) -> list[EngineEntry]:
    """Those that were made by the very TensorRT that is installed come first."""
    return sorted(engines, key=lambda engine: engine.version != installed_version(engine.flavour))
