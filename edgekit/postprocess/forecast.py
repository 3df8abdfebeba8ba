"""A network's scaled values become a forecast in their own units. Shapes: N batch, H steps ahead, C channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.postprocess.checks import check_finite, refused
from edgekit.specs import Forecast


def forecasts(spec: Forecast, output: NDArray[Any]) -> list[NDArray[np.float64]]:
    """value * std + mean, channel by channel: [N,H,C], or [N,H] of one channel -> N arrays float64 [H,C].

    Raises DataError for another shape, a NaN or an infinite value.
    """
    channels = len(spec.mean)
    values = output[:, :, None] if output.ndim == 2 and channels == 1 else output
    if values.ndim != 3 or values.shape[2] != channels:
        raise refused(spec.output, f"[N, H, {channels}]", output)
    check_finite(spec.output, output)
    scaled = values.astype(np.float64)
    np.multiply(scaled, np.array(spec.std), out=scaled)
    np.add(scaled, np.array(spec.mean), out=scaled)
    return list(scaled)
