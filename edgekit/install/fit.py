"""Whether this device can run a bundle, told before anything is copied: each engine beside what is here."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.bundle import EngineEntry, Manifest
from edgekit.configs import InstallConfig
from edgekit.errors import TargetError
from edgekit.runtime.choice import choose, installed_version

REBUILD = "edgekit build-engine MODEL.onnx OUT.engine --target T, for this device"
_NAMES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}


@dataclass(frozen=True)
class EngineFit:
    """One engine: what it is for, and what this device has of that, in words. `fits` is whether it may load here:
    TensorRT has the last word, which may refuse an engine of another version."""

    file: str
    made_for: str
    here: str
    fits: bool


def engine_fits(manifest: Manifest) -> tuple[EngineFit, ...]:
    """Compare each engine with the first GPU of this device, and with the TensorRT that is installed."""
    from edgekit.device import find_gpus

    search = find_gpus()
    if not search.gpus:
        return tuple(_fit(engine, None, f"has no GPU ({search.reason})") for engine in manifest.engines)
    capability = search.gpus[0].compute_capability
    return tuple(_fit(engine, capability, f"is SM {capability or 'unknown'}") for engine in manifest.engines)


def check_fit(manifest: Manifest, config: InstallConfig) -> tuple[EngineFit, ...]:
    """The engines beside this device. TargetError where what `config` asks for cannot run here, whatever is tried."""
    fits = engine_fits(manifest)
    choices = choose(manifest, config.backend)
    if needs_engine(config) and all(choice.engine is None for choice in choices):
        raise no_engine(fits, choices[0].reason)
    return fits


def needs_engine(config: InstallConfig) -> bool:
    """Whether onnxruntime may not stand in; who asks for it by name may have it."""
    return not config.fallback and config.backend != "ort"


def no_engine(fits: tuple[EngineFit, ...], reason: str) -> TargetError:
    """The refusal where an engine has to run and none does."""
    return TargetError(f"expected an engine that runs here, found none: {mismatch(fits) or reason}", REBUILD)


def mismatch(fits: tuple[EngineFit, ...]) -> str:
    """What the engines are for, and what this device is, in one line; empty without engines."""
    if not fits:
        return ""
    here = " and ".join(dict.fromkeys(fit.here for fit in fits))
    return f"{', '.join(f'{fit.file} is for {fit.made_for}' for fit in fits)}; this device {here}"


def _fit(engine: EngineEntry, capability: str | None, device: str) -> EngineFit:
    name, version = _NAMES.get(engine.flavour, engine.flavour), installed_version(engine.flavour)
    made_for = f"SM {' and '.join(engine.compute_capabilities)}, {name} {engine.version}"
    here = f"{device}, {name} {version}" if version else f"{device}, without {name}"
    return EngineFit(engine.file, made_for, here, bool(version) and capability in engine.compute_capabilities)
