"""Range -> scale, and values -> int8: pure functions.

Symmetric int8 with zero point 0: q = clip(round(x / s), -127, 127), s = largest / 127. -128 is not used, so that the
range is the same on both sides. Rounding is half to even, as ONNX QuantizeLinear defines it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LEVELS = 127
# The largest number of FP8 E4M3 (OCP 8-bit Floating Point Specification, table 1).
LARGEST_FP8 = 448
# Far enough from FP16's last digit, 2^-24: scales are rounded up to its grid, here by 6 % of the range at the most.
SMALLEST_HALF_SCALE = 2.0**-20
LARGEST_HALF = np.float32(65504)
# Of the largest value. Far below 1, one value of thousands is clipped for the sake of the others; around 1, levels meet
# the values better by chance: 1.2 dB in the mean of EfficientNet-Lite0's depthwise layers, 0.4 dB in its others, where
# shares from 0.5 to 1 in steps of 0.025 gain nothing.
_SHARES = np.concatenate([np.linspace(0.5, 0.95, 10), np.linspace(0.97, 1.03, 31)]).astype(np.float32)
_TINY = np.finfo(np.float32).tiny


def scale_of(largest: npt.NDArray[np.float32], *, half: bool = False, levels: int = LEVELS) -> npt.NDArray[np.float32]:
    """Scales for ranges -largest..largest, of any shape, whose last level is `levels`.

    With `half` they are rounded up to FP16's grid, so that FP16 can hold them; one beyond FP16 stays as it is, since
    the cast to FP16 has its own word on such values.
    """
    exact: npt.NDArray[np.float32] = np.maximum(largest / np.float32(levels), _TINY).astype(np.float32)
    if not half:
        return exact
    bounded = np.clip(exact, np.float32(SMALLEST_HALF_SCALE), LARGEST_HALF)
    nearest = bounded.astype(np.float16)
    # Rounding down would clip the largest value.
    rounded = np.where(nearest.astype(np.float32) < bounded, np.nextafter(nearest, np.float16(LARGEST_HALF)), nearest)
    scales: npt.NDArray[np.float32] = np.where(exact > LARGEST_HALF, exact, rounded).astype(np.float32)
    return scales


def quantize_weight(
    weight: npt.NDArray[np.float32], axis: int | None, *, half: bool = False, fit: str = "max"
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return int8 values and scales: one scale a slice along `axis`, or a single one when it is None.

    `fit` is max, or mse for the scale of least squared error of each slice.
    """
    scale = _best_fitting(weight, axis, half) if fit == "mse" else scale_of(_largest(weight, axis), half=half)
    return _rounded(weight, spread(scale, axis, weight.ndim)), scale


def quantize_fp8(
    weight: npt.NDArray[np.float32], axis: int | None, *, half: bool = False
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
    """Return FP8 E4M3 values and scales, as `quantize_weight`; the largest value of a slice becomes 448."""
    import ml_dtypes  # comes with onnx, which a device that only runs does not have

    scale = scale_of(_largest(weight, axis), half=half, levels=LARGEST_FP8)
    return (weight / spread(scale, axis, weight.ndim)).astype(ml_dtypes.float8_e4m3fn), scale


def spread(scale: npt.NDArray[np.float32], axis: int | None, rank: int) -> npt.NDArray[np.float32]:
    """The scales in a shape that meets a weight of `rank` axes."""
    return scale if axis is None else scale.reshape([-1 if other == axis else 1 for other in range(rank)])


def _largest(weight: npt.NDArray[np.float32], axis: int | None) -> npt.NDArray[np.float32]:
    others: Any = None if axis is None else tuple(other for other in range(weight.ndim) if other != axis)
    largest: npt.NDArray[np.float32] = np.abs(weight).max(axis=others)
    return largest


def _best_fitting(weight: npt.NDArray[np.float32], axis: int | None, half: bool) -> npt.NDArray[np.float32]:
    """Of each slice the scale, by a share of its largest value, whose levels are nearest to its values."""
    others: Any = None if axis is None else tuple(other for other in range(weight.ndim) if other != axis)
    largest = _largest(weight, axis)
    best, least = scale_of(largest, half=half), np.full(largest.shape, np.inf)
    for share in _SHARES:
        scale = scale_of(share * largest, half=half)
        steps = spread(scale, axis, weight.ndim)
        error = np.square(_rounded(weight, steps) * steps - weight).sum(axis=others)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return best


def quantize_rows(weight: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return int8 values and one scale a row along the last axis: [D,GH,I] -> [D,GH,I] and [D,GH,1].

    The scales stay FP32, off FP16's grid: small weights on large inputs, such as raw sensor counts, need them small.
    """
    scale = scale_of(np.abs(weight).max(axis=-1, keepdims=True))
    return _rounded(weight, scale), scale


def _rounded(weight: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    levels: npt.NDArray[np.int8] = np.clip(np.rint(weight / scale), -LEVELS, LEVELS).astype(np.int8)
    return levels
