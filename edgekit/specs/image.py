"""How a picture becomes the input tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from edgekit.errors import RecipeError
from edgekit.specs.tables import choose_among


@dataclass(frozen=True)
class ImagePreprocess:
    """How a picture becomes the input tensor; `edgekit.preprocess` applies it.

    The shorter side is resized to `resize` pixels, the middle `crop` x `crop` is cut out, and each channel becomes
    (value - mean) / std with value in 0..255.
    """

    KIND: ClassVar[str] = "image"

    kind: str
    input: str
    resize: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    layout: str = "NCHW"
    colour: str = "RGB"

    def __post_init__(self) -> None:
        choices = {
            "kind": (self.KIND,),
            "interpolation": ("bilinear", "bicubic"),
            "layout": ("NCHW", "NHWC"),
            "colour": ("RGB", "BGR", "GRAY"),
        }
        for name, allowed in choices.items():
            choose_among(name, getattr(self, name), allowed, "preprocess")
        channels = 1 if self.colour == "GRAY" else 3
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if not len(self.mean) == len(self.std) == channels or not all(self.std) or not finite:
            raise RecipeError(f"preprocess: expected {channels} means and {channels} nonzero stds for {self.colour}")
        if not 0 < self.crop <= self.resize:
            raise RecipeError(f"preprocess: expected 0 < crop <= resize, found {self.crop} and {self.resize}")


def of_pictures(spec: object) -> ImagePreprocess | None:
    """The spec where it is one of pictures: calibration and evaluation data are read by no other."""
    return spec if isinstance(spec, ImagePreprocess) else None
