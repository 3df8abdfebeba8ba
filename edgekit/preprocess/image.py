"""A picture becomes the input tensor: resize, centre crop, normalise, colour order and layout, in NumPy alone.

Shapes: H, W are the picture's height and width, C the channels of the tensor, `crop` the side of the square.

The numbers are those of Pillow's `Image.resize` followed by a crop, and so of torchvision's `Resize` and `CenterCrop`
on a picture, but for what 8 bits do there: Pillow rounds and clips after each of its two passes, values here stay
fractional. Bilinear, that is at most one grey level of 255; bicubic, up to 9 in photographs, on fewer than 0.5 % of the
values: beside edges that touch black or white, where Pillow clips between the passes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError, ShapeError
from edgekit.preprocess import Inputs, Sizes
from edgekit.preprocess.checks import batch_position, check_array
from edgekit.preprocess.placement import cuts
from edgekit.specs import ImagePreprocess, described

Floats = NDArray[np.float32]

# ITU-R BT.601, the weights that Pillow's convert("L") uses too.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

# Output rows of the first pass made at a time: a strip of a 1920 x 1080 frame is 0.4 MB and stays in the cache.
_STRIP = 32


class _Taps(NamedTuple):
    """Which source rows make one output row: `starts[i]` is relative to `first`, `weights[i]` float32 [taps]."""

    first: int
    last: int  # exclusive: rows first..last are all that is read
    starts: tuple[int, ...]
    weights: tuple[Floats, ...]


class Pictures:
    """The Preprocessor of pictures: each goes into a batch position of its own."""

    def __init__(self, spec: ImagePreprocess) -> None:
        self._spec = spec

    def prepare(self, item: NDArray[np.uint8]) -> Sizes:
        """A picture of any size becomes one of the model's: no axis follows it. Raises DataError for what is none."""
        _pixels(item)
        return {}

    def write(self, item: NDArray[np.uint8], inputs: Inputs, slot: int) -> None:
        """As `apply` does."""
        apply(self._spec, item, batch_position(self._spec.input, inputs(self._spec.input), slot))


def apply(spec: ImagePreprocess, image: NDArray[np.uint8], out: NDArray[Any]) -> None:
    """Write the tensor of one picture into `out`.

    `image` is uint8 [H, W, 3] in RGB order, or uint8 [H, W] gray; both may be views. `out` is a writable float32 or
    float16 view without the batch axis: [C, crop, crop] for NCHW, [crop, crop, C] for NHWC.

    1. The shorter side becomes `spec.resize` and the longer one floor(resize * longer / shorter). The filter is
       bilinear or bicubic (Keys, a = -0.5), widened by the scale when shrinking, as in Pillow's `Image.resize`.
    2. The crop starts at round((size - crop) / 2), halves to even, as in torchvision's `center_crop`.
    3. Gray is repeated for RGB and BGR; RGB becomes GRAY by the ITU-R BT.601 luma. Bicubic overshoot is clipped to
       0..255, once, at the end.
    4. (value - mean) / std, with mean and std in the order of `spec.colour`.

    Cost: the part of the frame that the crop keeps is read as uint8, each row about twice; then two passes over
    [crop, kept width, 3] and four over [crop, crop, 3] in float32. For 1920 x 1080 to 256 / 224 bilinear that is
    2.7 MB of frame and 4.2 MB of scratch; nothing of the frame's size is allocated. Weights are computed once a size.

    Raises DataError for a picture of another dtype, shape or size zero, ShapeError for an `out` that does not fit.
    """
    pixels = _pixels(image)
    _check_out(spec, out)
    rows, columns = _plan(spec, pixels.shape[0], pixels.shape[1])
    kept = pixels[rows.first : rows.last, columns.first : columns.last]
    turned = _first_pass(kept, rows, gray=spec.colour == "GRAY")
    square = _weigh(turned, columns)  # [x, C, y]
    if spec.interpolation == "bicubic":
        np.clip(square, 0, 255, out=square)
    if spec.colour == "BGR":
        square = square[:, ::-1]
    normal = (square - _column(spec.mean)) / _column(spec.std)  # [x, 1, y] is repeated to [x, 3, y] here
    to_layout = (1, 2, 0) if spec.layout == "NCHW" else (2, 0, 1)
    np.copyto(out, normal.transpose(to_layout), casting="same_kind")


def _pixels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture as uint8 [H, W, 1 or 3]; raises DataError for anything else."""
    check_array("a picture uint8[H, W, 3]", image, 'np.asarray(Image.open(path).convert("RGB"))')
    found = described(image)
    if image.ndim == 3 and image.shape[2] == 4:
        raise DataError(f"expected a picture uint8[H, W, 3] or uint8[H, W], found {found}", "image[:, :, :3]")
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise DataError(f"expected a picture uint8[H, W, 3] or uint8[H, W], found {found}")
    if 0 in image.shape:
        raise DataError(f"expected a picture with at least one pixel, found {found}")
    return image if image.ndim == 3 else image[:, :, None]


def _check_out(spec: ImagePreprocess, out: NDArray[Any]) -> None:
    channels = len(spec.mean)
    shape = (channels, spec.crop, spec.crop) if spec.layout == "NCHW" else (spec.crop, spec.crop, channels)
    if out.shape != shape or out.dtype not in (np.float32, np.float16) or not out.flags.writeable:
        wanted, found = (", ".join(map(str, axes)) for axes in (shape, out.shape))
        mode = "" if out.flags.writeable else "read-only "
        raise ShapeError(
            f"{spec.input}: expected a writable float32 or float16 view [{wanted}], found {mode}{out.dtype}[{found}]"
        )


def _column(values: tuple[float, ...]) -> Floats:
    """Per-channel values as float32 [C, 1], to combine with [x, C, y]."""
    return np.array(values, np.float32)[:, None]


def _plan(spec: ImagePreprocess, height: int, width: int) -> tuple[_Taps, _Taps]:
    """The taps of the rows and of the columns that the centre crop keeps, in pixels of the source."""
    rows, columns = (
        _taps(source, cut.resized, cut.start, spec.crop, spec.interpolation)
        for source, cut in zip((height, width), cuts(spec, height, width), strict=True)
    )
    return rows, columns


@lru_cache(maxsize=32)
def _taps(source: int, resized: int, offset: int, count: int, interpolation: str) -> _Taps:
    """Weights of `count` output rows from `offset` on, when `source` rows are resized to `resized`.

    The window of a row and its weights are those of Pillow's `precompute_coeffs` (src/libImaging/Resample.c): the
    filter sits on the row's centre, is cut at the border and normalised to a sum of one. Taps of weight zero at the
    ends are dropped, so that an unchanged size costs one tap. 32 entries hold 16 frame sizes, at most a few MB.
    """
    scale = source / resized
    stretch = max(scale, 1.0)  # shrinking: the filter covers all the source rows of one output row
    reach = stretch * (1 if interpolation == "bilinear" else 2)
    kernel = _triangle if interpolation == "bilinear" else _cubic
    starts, weights = [], []
    for row in range(offset, offset + count):
        centre = (row + 0.5) * scale
        low = max(int(centre - reach + 0.5), 0)
        high = min(int(centre + reach + 0.5), source)
        values = kernel(np.abs(np.arange(low, high) + 0.5 - centre) / stretch)
        used = np.flatnonzero(values)
        starts.append(low + int(used[0]))
        weights.append((values / values.sum())[used[0] : used[-1] + 1].astype(np.float32))
    first = min(starts)
    last = max(start + len(weight) for start, weight in zip(starts, weights, strict=True))
    return _Taps(first, last, tuple(start - first for start in starts), tuple(weights))


def _triangle(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The bilinear filter at distances >= 0, in pixels."""
    return np.maximum(1.0 - distance, 0.0)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic convolution filter with a = -0.5 (Keys 1981, eq. 15) at distances >= 0, in pixels."""
    near = (1.5 * distance - 2.5) * distance**2 + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))


def _first_pass(kept: NDArray[np.uint8], rows: _Taps, gray: bool) -> Floats:
    """Filter the rows: uint8 [kept height, kept width, C] -> float32 [kept width, C, crop], turned for the second pass.

    In strips, since the whole before turning would be another 2.5 MB that the system maps and clears for each frame:
    half of the time of a 1920 x 1080 frame. RGB becomes gray here, so that the second pass has a third of the work.
    """
    count = len(rows.starts)
    channels = 1 if gray else kept.shape[2]
    turned = np.empty((kept.shape[1], channels, count), np.float32)
    for first in range(0, count, _STRIP):
        strip = slice(first, first + _STRIP)
        band = _weigh(kept, rows._replace(starts=rows.starts[strip], weights=rows.weights[strip]))
        if gray and kept.shape[2] == 3:
            band = (band @ _LUMA)[:, :, None]
        turned[:, :, strip] = band.transpose(1, 2, 0)
    return turned


def _weigh(source: NDArray[Any], taps: _Taps) -> Floats:
    """Filter along the first axis: [rows, A, B] of any dtype -> float32 [count, A, B].

    One small vector-matrix product a row reads its window straight from the source; gathering the rows of one tap at
    a time took three times as long. Casting the window rather than the whole frame keeps it in the cache.
    """
    result = np.empty((len(taps.starts), *source.shape[1:]), np.float32)
    flat = result.reshape(len(result), -1)
    for row, (start, weight) in enumerate(zip(taps.starts, taps.weights, strict=True)):
        window = source[start : start + len(weight)].astype(np.float32, order="C", copy=False)
        np.dot(weight, window.reshape(len(weight), -1), out=flat[row])
    return result
