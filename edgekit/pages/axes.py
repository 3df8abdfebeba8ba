"""Axes of a plot: from where to where, linear or logarithmic, with ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1, 2, 5, 10)
# Beyond so many decades a tick a decade is enough.
_DENSE_DECADES = 2


@dataclass(frozen=True)
class Axis:
    """One direction of a plot: what it shows, with its unit, from `low` to `high`, and its ticks with their texts."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    is_log: bool = False

    def place(self, value: float) -> float:
        """Where a value stands, 0 at `low` and 1 at `high`; what lies outside, infinities too, stands at that end."""
        clamped = min(max(value, self.low), self.high)
        if self.is_log:
            return math.log(clamped / self.low) / math.log(self.high / self.low)
        return (clamped - self.low) / (self.high - self.low)


def linear(label: str, low: float, high: float, most: int = 6) -> Axis:
    """From `low` to `high`, both finite, with at most `most` ticks in steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    step = _round_step((high - low) / (most - 1))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(label, low, high, _named(index * step for index in range(first, last + 1)))


def logarithmic(label: str, low: float, high: float) -> Axis:
    """From `low` > 0 to `high`, with ticks at the powers of ten, and at 2 and 5 times those where there is room."""
    if high <= low:
        high = 10 * low
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if math.log10(high / low) <= _DENSE_DECADES else (1,)
    values = (factor * 10.0**power for power in range(first, last + 1) for factor in factors)
    return Axis(label, low, high, _named(value for value in values if low <= value <= high), is_log=True)


def _round_step(least: float) -> float:
    """The smallest round step that is no smaller than `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in _STEPS if factor * power >= least * (1 - 1e-9))


def _named(values: Iterable[float]) -> tuple[tuple[float, str], ...]:
    return tuple((value, _text(value)) for value in values)


def _text(value: float) -> str:
    """A round number without the noise of floating point, and with commas between thousands."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"
