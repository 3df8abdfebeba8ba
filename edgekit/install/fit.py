"""Whether this device can run a bundle, told before anything is copied: each engine beside what is here."""

from __future__ import annotations

from edgekit.bundle import Manifest
from edgekit.configs import InstallConfig
from edgekit.errors import TargetError
from edgekit.runtime.choice import choose
from edgekit.runtime.fit import REBUILD, EngineFit, engine_fits, mismatch


def check_fit(manifest: Manifest, config: InstallConfig) -> tuple[EngineFit, ...]:
    """The engines beside this device. TargetError where what `config` asks for cannot run here, whatever is tried."""
    fits = engine_fits(manifest.engines)
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
