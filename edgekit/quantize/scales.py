"""Range -> scale, and values -> int8: pure functions.

Symmetric int8 with zero point 0: q = clip(round(x / s), -127, 127), s = largest / 127. -128 is not used, so that the
range is the same on both sides. Rounding is half to even, as ONNX QuantizeLinear defines it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LEVELS = 127
# Far enough from FP16's last digit, 2^-24: scales are rounded up to its grid, here by 6 % of the range at the most.
SMALLEST_HALF_SCALE = 2.0**-20
LARGEST_HALF = np.float32(65504)
_TINY = np.finfo(np.float32).tiny


def scale_of(largest: npt.NDArray[np.float32], *, half: bool = False) -> npt.NDArray[np.float32]:
    """Scales for ranges -largest..largest, of any shape.

    With `half` they are rounded up to FP16's grid, so that FP16 can hold them; one beyond FP16 stays as it is, since
    the cast to FP16 has its own word on such values.
    """
    exact: npt.NDArray[np.float32] = np.maximum(largest / np.float32(LEVELS), _TINY).astype(np.float32)
    if not half:
        return exact
    bounded = np.clip(exact, np.float32(SMALLEST_HALF_SCALE), LARGEST_HALF)
    nearest = bounded.astype(np.float16)
    # Rounding down would clip the largest value.
    rounded = np.where(nearest.astype(np.float32) < bounded, np.nextafter(nearest, np.float16(LARGEST_HALF)), nearest)
    scales: npt.NDArray[np.float32] = np.where(exact > LARGEST_HALF, exact, rounded).astype(np.float32)
    return scales


def quantize_weight(
    weight: npt.NDArray[np.float32], axis: int | None, *, half: bool = False
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return int8 values and scales: one scale a slice along `axis`, or a single one when it is None."""
    others: Any = None if axis is None else tuple(other for other in range(weight.ndim) if other != axis)
    scale = scale_of(np.abs(weight).max(axis=others), half=half)
    spread = scale if axis is None else scale.reshape([-1 if other == axis else 1 for other in range(weight.ndim)])
    return _rounded(weight, spread), scale


def quantize_rows(weight: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return int8 values and one scale a row along the last axis: [D,GH,I] -> [D,GH,I] and [D,GH,1].

    The scales stay FP32, off FP16's grid: small weights on large inputs, such as raw sensor counts, need them small.
    """
    scale = scale_of(np.abs(weight).max(axis=-1, keepdims=True))
    return _rounded(weight, scale), scale


def _rounded(weight: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    levels: npt.NDArray[np.int8] = np.clip(np.rint(weight / scale), -LEVELS, LEVELS).astype(np.int8)
    return levels
