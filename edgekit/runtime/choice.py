"""Which backend opens a bundle here, and why: `auto` prefers an engine for this very GPU and always says so."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from edgekit.bundle import EngineEntry, Manifest
from edgekit.errors import SessionError, TargetError

_FLAVOURS = {"trt": "tensorrt", "rtx": "tensorrt_rtx"}


@dataclass(frozen=True)
class Choice:
    """`engine` is None for onnxruntime; `reason` is one sentence for `health()` and the log."""

    backend: str
    engine: EngineEntry | None
    reason: str


def choose(manifest: Manifest, backend: str) -> Choice:
    """Pick for `backend`: auto, ort, trt or rtx. Only auto falls back, to onnxruntime, and says why."""
    if backend == "ort":
        return Choice("ort", None, "asked for")
    if backend in _FLAVOURS:
        for engine in manifest.engines:
            if engine.flavour == _FLAVOURS[backend]:
                return Choice(backend, engine, "asked for")
        raise TargetError(f"expected an engine for {backend} in the bundle, found none", "--backend ort")
    if backend != "auto":
        raise SessionError(f"expected backend auto, ort, trt or rtx, found {backend!r}")
    return _automatic(manifest)


def backend_of(flavour: str) -> str:
    """The backend that runs engines of this flavour of TensorRT; a flavour that has none keeps its own name."""
    return next((name for name, known in _FLAVOURS.items() if known == flavour), flavour)


def _automatic(manifest: Manifest) -> Choice:
    if not manifest.engines:
        return Choice("ort", None, "the bundle has no engine")
    from edgekit.device import find_gpus

    search = find_gpus()
    if not search.gpus:
        return Choice("ort", None, f"no GPU here: {search.reason}")
    capability = search.gpus[0].compute_capability
    for engine in manifest.engines:
        if capability in engine.compute_capabilities and _installed(engine.flavour) and _installed("pycuda"):
            return Choice(backend_of(engine.flavour), engine, f"{engine.file} is for compute capability {capability}")
    built = ", ".join(sorted({item for engine in manifest.engines for item in engine.compute_capabilities}))
    return Choice(
        "ort", None, f"no engine for compute capability {capability} with its TensorRT and pycuda (built: {built})"
    )


def _installed(module: str) -> bool:
    """Without importing it; a folder that only holds type stubs has a spec, but no file that it starts from."""
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None
