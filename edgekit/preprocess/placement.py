"""Where a pixel of the network's input lies in the picture that it was made of, so that boxes can be drawn on it.

Plain arithmetic, no NumPy: positions count from the upper left corner of the upper left pixel, in pixels, so that the
centre of that pixel is at 0.5, 0.5, as in Pillow's `Image.resize`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from edgekit.errors import DataError
from edgekit.specs import ImagePreprocess

Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Placement:
    """The input covers the picture from `left`, `top` on; one of its pixels is `across` x `down` pixels of the picture.

    The two differ by a little where the longer side was rounded down.
    """

    left: float
    top: float
    across: float
    down: float

    def point(self, x: float, y: float) -> tuple[float, float]:
        """A position in the input as one in the picture; outside of the one may be outside of the other."""
        return self.left + x * self.across, self.top + y * self.down

    def corners(self, corners: Corners) -> Corners:
        """A box (left, top, right, bottom) in the input as one in the picture."""
        return *self.point(*corners[:2]), *self.point(*corners[2:])


class Cut(NamedTuple):
    """Of one axis: how many pixels the picture gets, and where the crop starts in them."""

    resized: int
    start: int


def cuts(spec: ImagePreprocess, height: int, width: int) -> tuple[Cut, Cut]:
    """Of the rows and of the columns; `edgekit.preprocess.image.apply` says by which rule."""
    shorter = min(height, width)
    resized = (spec.resize * size // shorter for size in (height, width))
    rows, columns = (Cut(size, round((size - spec.crop) / 2)) for size in resized)
    return rows, columns


def placement(spec: ImagePreprocess, height: int, width: int) -> Placement:
    """How the input that `spec` makes of a picture of `height` x `width` pixels lies on it.

    Raises DataError for a picture without a pixel.
    """
    if min(height, width) < 1:
        raise DataError(f"expected a picture with at least one pixel, found {height} x {width}")
    rows, columns = cuts(spec, height, width)
    down, across = height / rows.resized, width / columns.resized
    return Placement(columns.start * across, rows.start * down, across, down)
