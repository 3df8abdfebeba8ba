"""What a tensor is, what a frame becomes and what the answer means: names, dtypes, axes and ranges, all as data."""

from __future__ import annotations

from typing import TypeAlias

from edgekit.specs.answers import Boxes, Classify, Ctc, Forecast
from edgekit.specs.audio import AudioPreprocess
from edgekit.specs.image import ImagePreprocess, of_pictures
from edgekit.specs.series import SeriesPreprocess
from edgekit.specs.stream import Stream
from edgekit.specs.tables import from_table, to_table
from edgekit.specs.tensors import ShapeRange, TensorSpec, described
from edgekit.specs.text import TextPreprocess

Preprocess: TypeAlias = ImagePreprocess | AudioPreprocess | TextPreprocess | SeriesPreprocess
Postprocess: TypeAlias = Classify | Ctc | Boxes | Forecast

__all__ = [
    "AudioPreprocess",
    "Boxes",
    "Classify",
    "Ctc",
    "Forecast",
    "ImagePreprocess",
    "Postprocess",
    "Preprocess",
    "SeriesPreprocess",
    "ShapeRange",
    "Stream",
    "TensorSpec",
    "TextPreprocess",
    "described",
    "from_table",
    "of_pictures",
    "to_table",
]
