"""Pictures as a worse camera would give them: with noise, out of focus, too dark or too bright."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgekit.data.samples import Array


@dataclass(frozen=True)
class Perturbation:
    """A `kind`, and how strong it is: the standard deviation of noise and what brightness adds as fractions of the
    input's range, the standard deviation of blur in pixels. The kind `none` changes nothing.
    """

    kind: str
    strength: float

    def __str__(self) -> str:
        amount = {"none": "", "blur": f" {self.strength:g} px", "brightness": f" {self.strength:+.0%}"}
        return self.kind + amount.get(self.kind, f" {self.strength:.0%}")


NONE = Perturbation("none", 0.0)
# The mildest strengths of ImageNet-C (Hendrycks and Dietterich, ICLR 2019: noise 8 %, blur 1 pixel, brightness 10 %),
# half of them, and a darker picture: a camera's everyday troubles, not an attack.
PERTURBATIONS = (
    Perturbation("noise", 0.04),
    Perturbation("noise", 0.08),
    Perturbation("blur", 0.5),
    Perturbation("blur", 1.0),
    Perturbation("brightness", -0.1),
    Perturbation("brightness", 0.1),
)


@dataclass(frozen=True)
class Picture:
    """Of a picture input [N,C,H,W] or [N,H,W,C]: which axis is H, W being the next, and which values were seen."""

    height_axis: int
    low: float
    high: float


def perturb(pictures: Array, how: Perturbation, known: Picture, seed: int) -> Array:
    """Float pictures perturbed, and clipped to the values that are known; the dtype stays. A seed is the same noise."""
    span = known.high - known.low
    values = pictures.astype(np.float32)
    if how.kind == "noise":
        random = np.random.default_rng(seed)
        values += np.float32(how.strength * span) * random.standard_normal(values.shape, np.float32)
    elif how.kind == "brightness":
        values += np.float32(how.strength * span)
    elif how.kind == "blur":
        for axis in (known.height_axis, known.height_axis + 1):
            values = _blurred(values, axis, how.strength)
    else:
        return pictures
    return values.clip(known.low, known.high).astype(pictures.dtype)


def _blurred(values: Array, axis: int, sigma: float) -> Array:
    """The mean of neighbours along one axis, Gaussian weights up to 3 sigma; the edge pixel stands beyond the edge."""
    reach = math.ceil(3 * sigma)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    padding = [(reach, reach) if index == axis else (0, 0) for index in range(values.ndim)]
    padded, size = np.pad(values, padding, mode="edge"), values.shape[axis]
    blurred = np.zeros_like(values)
    for start, weight in enumerate(weights.tolist()):
        window = [slice(start, start + size) if index == axis else slice(None) for index in range(values.ndim)]
        blurred += np.float32(weight) * padded[tuple(window)]
    return blurred
