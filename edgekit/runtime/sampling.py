"""Which token follows: the likeliest, or one drawn by temperature among the top k; without allocation a token."""

from __future__ import annotations

import math

import numpy as np

from edgekit.errors import SessionError, UsageError
from edgekit.runtime.backend import Array


class Sampler:
    """`temperature` 0 takes the likeliest token; else logits / temperature are a softmax to draw from.

    With `top_k`, only that many of the largest logits can be drawn (Fan et al. 2018, section 5.1). `seed` makes the
    draws repeatable.
    """

    def __init__(self, temperature: float, top_k: int, seed: int | None) -> None:
        if not isinstance(temperature, (int, float)) or not 0 <= temperature < math.inf:
            raise UsageError(f"temperature: expected 0 or more, found {temperature!r}")
        for name, value in (("top_k", top_k), ("seed", 0 if seed is None else seed)):
            if not isinstance(value, int) or value < 0:
                raise UsageError(f"{name}: expected 0 or more, a whole number, found {value!r}")
        self._temperature, self._top_k = temperature, top_k
        self._random = np.random.default_rng(seed)
        self._values = self._sorted = np.empty(0)

    def pick(self, logits: Array) -> int:
        """The next token's id, from logits [V] of any float dtype. Raises SessionError for a NaN."""
        best = int(logits.argmax())
        if not math.isfinite(logits[best]):  # argmax finds a NaN before any number
            raise SessionError(f"expected finite logits, found {logits[best]}", "edgekit validate")
        if self._temperature == 0:
            return best
        if len(self._values) != len(logits):
            self._values, self._sorted = np.empty((2, len(logits)))
        values = self._values
        np.subtract(logits, logits[best], out=values, casting="same_kind")
        values /= self._temperature
        if 0 < self._top_k < len(values):
            self._drop_all_but_top()
        np.exp(values, out=values)
        np.cumsum(values, out=values)
        return int(values.searchsorted(self._random.random() * values[-1], side="right"))

    def _drop_all_but_top(self) -> None:
        """Of equal ones at the edge, all stay: which of them were dropped would be chance."""
        self._sorted[...] = self._values
        self._sorted.partition(len(self._sorted) - self._top_k)
        edge = self._sorted[len(self._sorted) - self._top_k]
        np.copyto(self._values, -np.inf, where=self._values < edge)
