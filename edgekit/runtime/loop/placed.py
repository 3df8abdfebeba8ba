"""Boxes of an answer, from the pixels of the network's input to those of the picture that it saw."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.postprocess.boxes import Box
from edgekit.preprocess.placement import Placement, placement
from edgekit.specs import ImagePreprocess, Preprocess


def placed(answer: Any, preprocessing: Preprocess | None, picture: Any) -> Any:
    """The answer with each Box in pixels of `picture`, [H,W,3] or [H,W]; whatever else it is, as it is.

    A bundle's boxes are in pixels of its input, and those of a function, or of a bundle without preprocessing, in what
    it likes: they stay as they are. A box may reach beyond the picture, as the network said.
    """
    is_picture = isinstance(picture, np.ndarray) and picture.ndim in (2, 3)
    if not isinstance(preprocessing, ImagePreprocess) or not is_picture or not _has_box(answer):
        return answer
    return _moved(answer, placement(preprocessing, *picture.shape[:2]))


def _has_box(answer: Any) -> bool:
    """Also in the lists of a network with states; labels and arrays cost nothing here."""
    if isinstance(answer, (list, tuple)):
        return any(map(_has_box, answer))
    return isinstance(answer, Box)


def _moved(answer: Any, place: Placement) -> Any:
    if isinstance(answer, Box):
        return replace(answer, corners=place.corners(answer.corners))
    return [_moved(item, place) for item in answer] if isinstance(answer, (list, tuple)) else answer
