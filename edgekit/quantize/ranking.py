"""What each layer costs when it alone is quantized, and what that says of a model in which the costliest are not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Noise:
    """What quantizing one layer alone adds to the model's output: its power, in the unit of the signal's."""

    layer: str
    op_type: str
    power: float


@dataclass(frozen=True)
class Ranking:
    """The noise of every layer, in any order.

    `signal` is the power of the output, 1 where powers are relative to it; `kept` names the layers that stay in FP16 or
    FP32; `measured` has pairs of a number of kept layers and an SQNR in dB; `target_db` is the SQNR that is asked for.
    """

    layers: tuple[Noise, ...]
    signal: float
    kept: tuple[str, ...] = ()
    measured: tuple[tuple[int, float], ...] = ()
    target_db: float | None = None


def predicted_db(ranking: Ranking) -> list[float]:
    """The SQNR in dB with the k costliest layers kept, k = 0..n: 10 log10(signal / sum of the other layers' powers)."""
    rest = list(accumulate(sorted(noise.power for noise in ranking.layers), initial=0.0))
    return [decibels(ranking.signal, power) for power in reversed(rest)]


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise); infinite without noise."""
    return 10 * (math.log10(signal) - math.log10(noise)) if noise else math.inf
