"""Preprocessing of sounds as real networks have it, and the input as a session's buffer would hold it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from edgekit.preprocess import preprocessor
from edgekit.specs import AudioPreprocess
from tests.export.real.recording import RATE

SILERO = {"rate": RATE, "window": 576, "hop": 512, "before": 64}
WHISPER = {
    "rate": RATE,
    "features": "spectrogram",
    "window": 400,
    "hop": 160,
    "before": 200,
    "after": 40,
    "padding": "reflect",
    "bands": 80,
    "logarithm": "log10",
    "range": 8.0,
    "mean": (-4.0,),
    "std": (4.0,),
    "layout": "FT",
}
CENTRED = {"rate": RATE, "features": "spectrogram", "window": 400, "hop": 160, "before": 200, "after": 200}
BEATNET = {
    "rate": 22050,
    "features": "spectrogram",
    "window": 1411,
    "hop": 441,
    "before": 705,
    "after": 705,
    "taper": "hann_symmetric",
    "power": 1,
    "filters": "filters.npy",
    "logarithm": "log10(1+x)",
    "rise": True,
}


def audio(table: dict[str, Any], **more: Any) -> AudioPreprocess:
    return AudioPreprocess("audio", "x", **{**table, **more})


def written(
    spec: AudioPreprocess,
    sound: np.ndarray,
    assets: dict[str, bytes] | None = None,
    dtype: str = "float32",
    batch: int = 1,
    slot: int = 0,
) -> np.ndarray:
    """The input as a session's buffer would hold it: its open axes as `prepare` asks."""
    made = preprocessor(spec, assets or {})
    [(name, sizes)] = made.prepare(sound).items()
    assert name == "x"
    bands = spec.bands or (136 if spec.filters else (spec.fft or spec.window) // 2 + 1)
    bands *= 2 if spec.rise else 1
    if spec.features == "samples":
        shape = [batch, spec.window]
    elif spec.layout == "TF":
        shape = [batch, spec.frames, bands]
    else:
        shape = [batch, bands, spec.frames]
    for axis, size in sizes.items():
        shape[axis - (spec.channel and axis > 0)] = size
    if spec.channel:
        shape[1:1] = [1]
    buffer = np.full(shape, np.nan, dtype)
    made.write(sound, lambda name: {"x": buffer}[name], slot)
    return buffer


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
