"""Windows of a sound become the bands of their spectra, a block of windows at a time, in buffers made once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import IntegrityError
from edgekit.preprocess.checks import asset
from edgekit.preprocess.filters import mel_filters, read_filters
from edgekit.specs import AudioPreprocess

Floats = NDArray[np.float32]


# Filters at a time. A group's bins are few, as its bands are neighbours: a quarter of the multiplications, in products
# so small that OpenBLAS does not share them among threads. It shared the whole one of 46 windows, 705 bins and 136
# bands: on a busy machine of two cores p50 was 79 us and p99 32 ms, against 22 and 35 us in groups.
_GROUP = 16


class _Group(NamedTuple):
    """Neighbouring bands, and the bins that they have any weight for."""

    bins: slice
    bands: slice
    filters: Floats


class Spectrum:
    """Steps 3 to 8 of an AudioPreprocess, for at most `most` windows a call.

    float32 and complex64, as librosa, madmom and torch compute. Cost for a window: one pass over its samples, an FFT,
    two passes over the bins, and products with the filters.
    """

    def __init__(self, spec: AudioPreprocess, assets: Mapping[str, bytes], most: int) -> None:
        size = spec.fft or spec.window
        bins = size // 2 + 1
        self._spec = spec
        filters = _filters(spec, assets, bins)
        bands = bins if filters is None else filters.shape[1]
        # One window is fastest through all filters at once.
        self._groups = () if filters is None else _groups(filters, _GROUP if most > 1 else bands)
        self.width = bands * (2 if spec.rise else 1)  # F
        # `norm="forward"` divides by the size, which the taper makes up for. Without it, NumPy 2.4 goes through float64
        # in buffers that it allocates each time: seven times as long for 128 windows of 400.
        self._taper = (_taper(spec.taper, spec.window) * size).astype(np.float32)
        self._tapered = np.zeros((most, size), np.float32)  # zero behind the window, for good
        self._bins: NDArray[Any] = np.empty((most, bins), np.complex64)
        self._power = np.empty((most, bins), np.float32)
        self._levels = np.empty((most, bands), np.float32)
        self._features = np.empty((most, self.width), np.float32) if spec.rise else self._levels
        self._before = np.empty(bands, np.float32)
        self._started = False
        self._mean, self._std = (np.array(values, np.float32) for values in (spec.mean, spec.std))
        if self._mean.size not in (0, 1, self.width):
            raise IntegrityError(
                f"expected 1 or {self.width} means and stds for as many bands, found {self._mean.size}"
            )

    def reset(self) -> None:
        """The next window is the first of a sound: nothing rises there."""
        self._started = False

    def features(self, windows: NDArray[Any]) -> Floats:
        """float32 [n, window], n at most `most` -> [n, F], a view that the next call overwrites.

        With a `range` they are neither cut to it nor scaled: the loudest value of the sound is known at its end.
        """
        count = len(windows)
        levels = self._logarithm(self._filtered(windows))
        if self._spec.rise:
            levels = self._with_rise(levels, self._features[:count])
        return levels if self._spec.range else self.scale(levels)

    def scale(self, features: NDArray[Any]) -> Any:
        """(x - mean) / std in place, over the last axis; float32 or float16 [..., F]."""
        if self._mean.size:
            np.subtract(features, self._mean, out=features, casting="same_kind")
            np.divide(features, self._std, out=features, casting="same_kind")
        return features

    def _filtered(self, windows: NDArray[Any]) -> Floats:
        """Magnitudes or powers through the filters, [n, bands]."""
        count, window = windows.shape
        np.multiply(windows, self._taper, out=self._tapered[:count, :window])
        bins, power = self._bins[:count], self._power[:count]
        np.fft.rfft(self._tapered[:count], norm="forward", out=bins)
        np.abs(bins, out=power)
        if self._spec.power == 2:
            np.square(power, out=power)
        levels = self._levels[:count]
        if not self._groups:
            levels[...] = power
        for group in self._groups:
            np.matmul(power[:, group.bins], group.filters, out=levels[:, group.bands])
        return levels

    def _logarithm(self, levels: Floats) -> Floats:
        kind = self._spec.logarithm
        if kind == "none":
            return levels
        if kind == "log10(1+x)":
            np.log1p(levels, out=levels)  # 1 + x would lose the digits of a small x
            np.divide(levels, np.float32(math.log(10)), out=levels)
            return levels
        np.maximum(levels, np.float32(self._spec.floor), out=levels)
        logarithm = np.log if kind == "ln" else np.log10
        logarithm(levels, out=levels)
        if kind == "dB":
            np.multiply(levels, 10 if self._spec.power == 2 else 20, out=levels)
        return levels

    def _with_rise(self, levels: Floats, out: Floats) -> Floats:
        bands = levels.shape[1]
        rise = out[:, bands:]
        out[:, :bands] = levels
        np.subtract(levels[:1], self._before if self._started else levels[:1], out=rise[:1])
        np.subtract(levels[1:], levels[:-1], out=rise[1:])
        np.maximum(rise, 0, out=rise)
        self._before[:] = levels[-1]
        self._started = True
        return out


def _filters(spec: AudioPreprocess, assets: Mapping[str, bytes], bins: int) -> Floats | None:
    """[bins, bands], or None where the bins themselves are the bands."""
    if spec.bands:
        return mel_filters(spec)
    return read_filters(asset(assets, spec.filters), spec.filters, bins) if spec.filters else None


def _groups(filters: Floats, size: int) -> tuple[_Group, ...]:
    groups = []
    for start in range(0, filters.shape[1], size):
        columns = filters[:, start : start + size]
        used = np.flatnonzero(columns.any(axis=1))
        # Bands without any weight: one bin, times zero.
        first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 1)
        kept = np.ascontiguousarray(columns[first:last])
        groups.append(_Group(slice(first, last), slice(start, start + size), kept))
    return tuple(groups)


def _taper(name: str, window: int) -> NDArray[np.float64]:
    """[window]; a periodic Hann is a symmetric one of a sample more, without its last."""
    if name == "rectangular":
        return np.ones(window)
    return np.hanning(window + 1)[:-1] if name == "hann" else np.hanning(window)
