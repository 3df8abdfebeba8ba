"""A sound or measured values as lines that a browser can draw: a few hundred numbers, whatever came in.

Shapes: S samples, T time steps, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_POINTS = 240
_MOST_SAMPLES, _MOST_STEPS, _MOST_CHANNELS = 1 << 15, 1 << 12, 8
_LEAST_SPAN = 0.05  # of a sound: below it silence would look like noise


def sound_lines(chunks: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """Of chunks [S], the oldest first: their lowest and highest values in turn, and the level of the last, in dBFS.

    The level is that of the root of the mean square; None for silence.
    """
    samples = np.concatenate(chunks)[-_MOST_SAMPLES:].astype(np.float64)
    parts = [part for part in np.array_split(samples, min(_POINTS, max(len(samples), 1))) if len(part)]
    line = [value for part in parts for value in (float(part.min()), float(part.max()))]
    span = max((abs(value) for value in line if math.isfinite(value)), default=0.0)
    power = float(np.mean(np.square(chunks[-1], dtype=np.float64))) if len(chunks[-1]) else 0.0
    level = 10 * math.log10(power) if 0 < power < math.inf else None
    limit = max(span, _LEAST_SPAN)
    return {
        "lines": [[_finite(value) for value in line]],
        "low": -limit,
        "high": limit,
        "level_db": None if level is None else round(level, 1),
    }


def value_lines(chunks: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """Of chunks [T,C] or [T], the oldest first: one line a channel, of every n-th step, between the least and most.

    Of more than eight channels the first eight.
    """
    columns = [chunk.reshape(len(chunk), -1)[:, :_MOST_CHANNELS] for chunk in chunks]
    values = np.concatenate(columns)[-_MOST_STEPS:].astype(np.float64)
    # Counted from the newest, which is so always among those shown.
    every = values[::-1][:: max(1, math.ceil(len(values) / _POINTS))][::-1]
    finite = every[np.isfinite(every)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    lines = [[_finite(value) for value in channel] for channel in every.T.tolist()]
    return {"lines": lines, "low": low, "high": high}


def _finite(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None
