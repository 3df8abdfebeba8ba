"""A picture as JPEG, small enough to be looked at over a slow line."""

from __future__ import annotations

import io
from typing import Any

import numpy.typing as npt
from PIL import Image

_QUALITY = 80


def jpeg_of(picture: npt.NDArray[Any], longest: int = 960) -> bytes:
    """Encode uint8 [H,W,3] RGB or [H,W] gray; one whose longer side is above `longest` pixels is shrunk to that.

    A frame of a large camera is read in steps of whole pixels first, down to twice `longest`: no copy of it is made,
    and the filter then averages what is left.
    """
    height, width = picture.shape[:2]
    step = max(1, max(height, width) // (2 * longest))
    image = Image.fromarray(picture[::step, ::step])
    factor = longest / max(height, width)
    if factor < 1:
        size = max(1, round(width * factor)), max(1, round(height * factor))
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
