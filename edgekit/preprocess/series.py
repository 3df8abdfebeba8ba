"""A series of measured values becomes the input tensor: its last steps, scaled channel by channel.

Shapes: T steps, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.preprocess import Inputs, Sizes
from edgekit.preprocess.checks import batch_position, check_array, check_buffer, check_finite
from edgekit.preprocess.cutting import SlidingWindows
from edgekit.specs import SeriesPreprocess, described

_BLOCK = 1024  # steps that are scaled at a time, in float64


class Series:
    """The Preprocessor of series: real [T,C], or [T] of one channel; each goes into a batch position of its own."""

    def __init__(self, spec: SeriesPreprocess) -> None:
        self._spec = spec
        self._mean, self._std = np.array(spec.mean), np.array(spec.std)
        self._scratch = np.empty((min(spec.length or _BLOCK, _BLOCK), len(spec.mean)))

    def prepare(self, item: NDArray[Any]) -> Sizes:
        """Raises DataError for other channels, too few steps, a NaN or an infinite value among those that are seen."""
        rows = self._seen(item)
        return {self._spec.input: {1 if self._spec.layout == "TC" else 2: len(rows)}}

    def write(self, item: NDArray[Any], inputs: Inputs, slot: int) -> None:
        """(x - mean) / std in float64, rounded once."""
        spec, rows = self._spec, self._seen(item)
        out = batch_position(spec.input, inputs(spec.input), slot)
        shape = rows.shape if spec.layout == "TC" else rows.shape[::-1]
        check_buffer(spec.input, out, shape, ("float32", "float16"))
        by_time = out if spec.layout == "TC" else out.T
        for start in range(0, len(rows), len(self._scratch)):
            part = rows[start : start + len(self._scratch)]
            scaled = np.subtract(part, self._mean, out=self._scratch[: len(part)])
            np.divide(scaled, self._std, out=scaled)
            by_time[start : start + len(part)] = scaled

    def _seen(self, item: NDArray[Any]) -> NDArray[Any]:
        """[T,C], the last steps."""
        rows = _rows(self._spec, item)
        length = self._spec.length
        if len(rows) < (length or 1):
            raise DataError(f"expected a series of at least {length or 1} steps, found {len(rows)}")
        seen = rows[-length:] if length else rows
        check_finite("a series", seen)
        return seen


def series_windows(spec: SeriesPreprocess) -> SeriesWindows:
    """The Windows of series; DataError where `spec` has no length."""
    if not spec.length:
        raise DataError("expected preprocessing of a length for a stream, found none", "length = 100")
    return SeriesWindows(spec)


class SeriesWindows:
    """Windows [length,C], or [C,length] as the layout says, one every `step` steps."""

    def __init__(self, spec: SeriesPreprocess) -> None:
        self._spec = spec
        row = (len(spec.mean),)
        self._windows = SlidingWindows(spec.length, spec.step, 0, row).scaled(spec.mean, spec.std)
        self.reset = self._windows.reset

    def push(self, samples: Any) -> Iterator[NDArray[np.float32]]:
        """Steps [n,C], or one [C]; of one channel [n], or a number."""
        array = np.asarray(samples)
        channels = len(self._spec.mean)
        one_step = array.ndim == 0 or (array.ndim == 1 and channels > 1)
        rows = _rows(self._spec, array[None] if one_step else array)
        check_finite("a series", rows)
        windows = self._windows.push(rows)
        return windows if self._spec.layout == "TC" else (window.T for window in windows)


def _rows(spec: SeriesPreprocess, item: NDArray[Any]) -> NDArray[Any]:
    """[T,C] of it; DataError for another number of channels."""
    channels = len(spec.mean)
    check_array(f"a series [T, {channels}]", item, "np.asarray(series)")
    rows = item[:, None] if item.ndim == 1 and channels == 1 else item
    if rows.ndim != 2 or rows.shape[1] != channels or rows.dtype.kind not in "fiu":
        raise DataError(f"expected a series of real values [T, {channels}], found {described(item)}")
    return rows
