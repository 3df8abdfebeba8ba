"""A real telephone call of two women, half a minute at 16 kHz, with who speaks when: pyannote.audio ships it.

The package itself is not imported (it would import lightning and more); its folder is found and read.
"""

from __future__ import annotations

import importlib.util
import wave
from pathlib import Path

import numpy as np
import pytest

RATE = 16000


def folder(package: str) -> Path:
    """Where an installed package lies, without importing it; else the test is skipped."""
    name = package.partition(".")[0]
    if importlib.util.find_spec(name) is None or (spec := importlib.util.find_spec(package)) is None:
        pytest.skip(f"{package} is not installed: tests/requirements-no-deps.txt")
    return Path(spec.origin).parent


def call() -> np.ndarray:
    """The samples, -1 .. 1."""
    with wave.open(str(folder("pyannote.audio") / "sample/sample.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 2**15


def turns() -> list[tuple[str, float, float]]:
    """(speaker, start, end) in seconds, in order, as a person marked them."""
    lines = (folder("pyannote.audio") / "sample/sample.rttm").read_text().split("\n")
    fields = [line.split() for line in lines if line]
    return [(field[7], float(field[3]), float(field[3]) + float(field[4])) for field in fields]
