"""Sound files, made for the tests with the standard library."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np


def write_wav(path: Path, values: np.ndarray, width: int, rate: int = 16000) -> Path:
    """Integers [S,channels] as PCM of `width` bytes; 8 bits are unsigned."""
    plain = values.astype("<i4").view(np.uint8).reshape(*values.shape, 4)[..., :width]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(values.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(plain.tobytes())
    return path
