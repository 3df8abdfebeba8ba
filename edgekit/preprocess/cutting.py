"""Overlapping windows out of chunks of any length, as views of one buffer that is made once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# How many windows the buffer holds: a window's samples move to its beginning once in so many, and not with each.
_ROOM = 4


class SlidingWindows:
    """Windows of `window` rows every `hop` rows; the first begins with `before` rows of zeros.

    A row is what arrives at one moment: a number for a sound (`row` is ()), C of them for a series (`row` is (C,)). It
    becomes (row - mean) / std as it is taken in, so once and not with each window that shows it.
    """

    def __init__(self, window: int, hop: int, before: int = 0, row: tuple[int, ...] = ()) -> None:
        self._window, self._hop, self._before = window, hop, before
        self._buffer = np.zeros((_ROOM * window, *row), np.float32)
        self._mean = self._std = np.zeros(0)
        self.reset()

    def scaled(self, mean: tuple[float, ...], std: tuple[float, ...]) -> SlidingWindows:
        """Scale what comes in; one number for all of a row or one for each of it, none for neither."""
        self._mean, self._std = np.array(mean, np.float64), np.array(std, np.float64)
        return self

    def reset(self) -> None:
        """Begin anew."""
        self._first = 0  # where the next window begins
        self._end = self._before  # what is behind has not arrived
        self._buffer[: self._before] = 0

    def push(self, rows: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Take `rows` [n, *row]; give each window that they complete, as a view that is valid until the next."""
        taken = 0
        while taken < len(rows):
            if self._end == len(self._buffer):
                self._move()
            count = min(len(rows) - taken, len(self._buffer) - self._end)
            self._take(rows[taken : taken + count])
            taken += count
            while self._end - self._first >= self._window:
                window = self._buffer[self._first : self._first + self._window]
                self._first += self._hop
                yield window

    def _take(self, rows: NDArray[Any]) -> None:
        into = self._buffer[self._end : self._end + len(rows)]
        self._end += len(rows)
        if self._mean.size:
            # In float64, rounded once: a pressure of 101325 Pa has few digits left in float32.
            np.subtract(rows, self._mean, out=into, casting="same_kind")
            np.divide(into, self._std, out=into, casting="same_kind")
        else:
            into[...] = rows

    def _move(self) -> None:
        """What the next window still needs goes to the beginning: less than a window, so it does not overlap itself."""
        kept = self._end - self._first
        self._buffer[:kept] = self._buffer[self._first : self._end]
        self._first, self._end = 0, kept
