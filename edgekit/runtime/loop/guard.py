"""Whether an answer can be used: no NaN and no infinity in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekit.runtime.backend import Array


class Guard:
    """Reads each value once, and writes and reads one byte for it in memory that is made once.

    A sum would be cheaper, but is infinite for large finite values too, and a minimum with a maximum reads all twice.
    """

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.bool_)

    def mask(self, array: Array) -> Array | None:
        """Which values are finite, as bool in the array's shape, valid until the next call; None where all are."""
        if array.dtype.kind not in "fc":
            return None
        if self._bytes.size < array.size:
            self._bytes = np.empty(array.size, np.bool_)
        found = self._bytes[: array.size].reshape(array.shape)
        np.isfinite(array, out=found)
        return None if found.all() else found

    def good(self, answer: Any) -> bool:
        """Whether all numbers in an answer are finite: arrays and floats, also in lists, tuples and dicts."""
        if isinstance(answer, np.ndarray):
            return self.mask(answer) is None
        if isinstance(answer, (float, complex, np.inexact)):
            return math.isfinite(answer.real) and math.isfinite(answer.imag)
        if isinstance(answer, Mapping):
            return all(self.good(item) for item in answer.values())
        if isinstance(answer, (list, tuple)):
            return all(self.good(item) for item in answer)
        return True
