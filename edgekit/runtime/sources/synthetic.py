"""A test picture that moves: what shows whether a loop keeps up where there is no camera."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgekit.runtime.sources.recording import Piece


class Synthetic:
    """A Tape without an end: coloured ramps and bars, eight pixels further to the left in each picture.

    All pictures are read-only views of one, `size` (H, W) and as much to its right: nothing is made for a frame, so
    that the source costs nothing beside what is measured.
    """

    def __init__(self, rate: float, size: tuple[int, int] = (480, 640)) -> None:
        self.rate: float | None = rate
        self._period_ns = 1e9 / rate
        height, self._width = size
        x, y = np.arange(2 * self._width) % self._width, np.arange(height)[:, None]
        self._pattern = np.empty((height, 2 * self._width, 3), np.uint8)
        self._pattern[..., 0] = x * 255 // max(self._width - 1, 1)
        self._pattern[..., 1] = y * 255 // max(height - 1, 1)
        self._pattern[..., 2] = x // 40 % 2 * 255
        self._pattern.flags.writeable = False

    def pieces(self) -> Iterator[Piece]:
        """uint8 [H,W,3] RGB."""
        number = 0
        while True:
            left = number * 8 % self._width
            picture = self._pattern[:, left : left + self._width]
            yield Piece(picture, int(number * self._period_ns), int((number + 1) * self._period_ns))
            number += 1
