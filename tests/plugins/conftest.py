"""The libraries of the true sources, built once for all workers; they stay under out/ until the sources change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit.errors import TargetError
from edgekit.plugins.building import Workshop, build_emulator, build_plugins
from edgekit.plugins.emulator import Emulator

OUT = Path(__file__).parents[2] / "out/plugins"


@pytest.fixture(scope="session")
def workshop() -> Workshop:
    """The checkout's sources, and a cache that `make clean` empties."""
    return Workshop(cache=OUT)


@pytest.fixture(scope="session")
def emulator_library(workshop: Workshop) -> Callable[[str], Path]:
    """`emulator_library(sanitize)`: libedgekit_emu.so, with "thread" or "address" sanitized, with "" not."""
    return lambda sanitize="": build_emulator(sanitize, workshop)


@pytest.fixture(scope="session")
def emulator(emulator_library: Callable[[str], Path]) -> Emulator:
    """The emulator as an AGX Orin."""
    return Emulator(emulator_library(""))


@pytest.fixture(scope="session")
def plugins_library(workshop: Workshop) -> Path:
    """libedgekit_plugins.so for all architectures that nvcc knows."""
    try:
        return build_plugins(workshop=workshop)
    except TargetError as error:
        pytest.skip(f"needs nvcc: {error}")
