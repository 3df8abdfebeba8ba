"""Whether an engine can run on this device, told before a byte of it is deserialised.

TensorRT itself has no such check: an engine for another GPU, version or platform fails while it is loaded, in words
that name one side only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.bundle import EngineEntry

if TYPE_CHECKING:
    from edgekit.device import GpuSearch, Host

REBUILD = (
    "edgekit build-engine BUNDLE/model.onnx OUT.engine --target T here, "
    "then edgekit bundle add-engine BUNDLE OUT.engine NEW"
)
_NAMES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}


@dataclass(frozen=True)
class EngineFit:
    """One engine: what it is for, and what this device has of that, in words.

    `fits` is whether it may load here: TensorRT has the last word, which may refuse an engine of another version. Where
    it is `foreign` it cannot, whatever is installed: it is for another GPU or platform, or for a newer driver.
    """

    file: str
    made_for: str
    here: str
    fits: bool
    foreign: bool


def engine_fits(engines: Sequence[EngineEntry], search: GpuSearch | None = None) -> tuple[EngineFit, ...]:
    """Compare each engine with the first GPU of this device, its driver and platform, and the installed TensorRT.

    `search` is what the driver said, where it was asked already.
    """
    if not engines:
        return ()
    from edgekit.device import find_gpus, this_host

    search, host = search or find_gpus(), this_host()
    return tuple(_fit(engine, search, host) for engine in engines)


def mismatch(fits: Sequence[EngineFit]) -> str:
    """What the engines are for, and what this device is, in one line; empty without engines."""
    if not fits:
        return ""
    here = " and ".join(dict.fromkeys(fit.here for fit in fits))
    return f"{', '.join(f'{fit.file} is for {fit.made_for}' for fit in fits)}; this device {here}"


def installed_version(flavour: str) -> str:
    """The installed version of a flavour of TensorRT, without importing it; empty where there is none."""
    import importlib.metadata  # 20 ms, which most who import the runtime need not pay

    for package in (flavour, f"{flavour}_cu13", f"{flavour}_cu12"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def installed(module: str) -> bool:
    """Without importing it; a folder that only holds type stubs has a spec, but no file that it starts from."""
    import importlib.util

    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # of cuda.bindings, cuda itself
        return False
    return spec is not None and spec.origin is not None


def _fit(engine: EngineEntry, search: GpuSearch, host: Host) -> EngineFit:
    """Of platform and driver only what keeps the engine from running is told: with all of it the line is unreadable."""
    name, version = _NAMES.get(engine.flavour, engine.flavour), installed_version(engine.flavour)
    capability = search.gpus[0].compute_capability if search.gpus else None
    made_for = [f"SM {' and '.join(engine.compute_capabilities)}", f"{name} {engine.version}"]
    gpu = f"is SM {capability or 'unknown'}" if search.gpus else f"has no GPU ({search.reason})"
    here = [gpu, f"{name} {version}" if version else f"without {name}"]
    foreign = capability is not None and capability not in engine.compute_capabilities
    if (engine.os and engine.os != host.os) or (engine.architecture and engine.architecture != host.architecture):
        foreign = True
        made_for.append(f"{engine.os} {engine.architecture}")
        here.append(f"{host.os} {host.architecture}")
    if search.driver and engine.minimum_cuda and _parts(search.driver) < _parts(engine.minimum_cuda):
        foreign = True
        made_for.append(f"a driver of CUDA {engine.minimum_cuda}")
        here.append(f"a driver of CUDA {search.driver}")
    fits = bool(version) and capability in engine.compute_capabilities and not foreign
    return EngineFit(engine.file, ", ".join(made_for), ", ".join(here), fits, foreign)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
