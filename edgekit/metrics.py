"""How far two models are apart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


class Sqnr:
    """Signal to quantization noise in dB, over all values that `add` has seen: 10 log10(sum r^2 / sum (r - x)^2).

    Sums are float64. Equal arrays give infinity; a NaN or Inf in `found` gives minus infinity, since no budget may
    be kept by a broken model.
    """

    def __init__(self) -> None:
        self._signal = 0.0
        self._noise = 0.0

    def add(self, reference: npt.NDArray[Any], found: npt.NDArray[Any]) -> None:
        """Two arrays of the same shape, any numeric dtype."""
        wanted, got = reference.astype(np.float64), found.astype(np.float64)
        self._signal += float(np.square(wanted).sum())
        self._noise += float(np.square(wanted - got).sum()) if np.isfinite(got).all() else math.inf

    def db(self) -> float:
        """The ratio so far, in dB."""
        if self._noise == 0.0:
            return math.inf
        if not math.isfinite(self._noise) or self._signal == 0.0:
            return -math.inf
        return 10 * math.log10(self._signal / self._noise)
