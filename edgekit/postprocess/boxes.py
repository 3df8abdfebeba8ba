"""A detector's boxes and scores become the few that stand for one thing each, by non-maximum suppression.

Shapes: N batch, K boxes, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.postprocess.checks import check_finite, refused
from edgekit.specs import Boxes

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """One thing that was found: its class, score, and corners (left, top, right, bottom) in the output's own units."""

    name: str
    index: int
    score: float
    corners: tuple[float, float, float, float]

    def __str__(self) -> str:
        return f"{self.name} {self.score:.2f} at {' '.join(f'{value:.4g}' for value in self.corners)}"


def detected(spec: Boxes, boxes: NDArray[Any], scores: NDArray[Any] | None) -> list[list[Box]]:
    """The boxes that are kept of each batch position, best first; equal scores keep the order of boxes, then classes.

    Raises DataError for outputs that do not fit the spec or one another, for a NaN or an infinite value, and for a
    number of labels other than C.
    """
    coordinates, certainties = _split(spec, boxes, scores)
    if spec.labels and len(spec.labels) != certainties.shape[2]:
        raise DataError(
            f"expected one label for each of {certainties.shape[2]} classes, found {len(spec.labels)} labels"
        )
    return [_kept(spec, *one) for one in zip(coordinates, certainties, strict=True)]


def suppress(boxes: Floats, classes: NDArray[np.intp], iou: float, most: int) -> list[int]:
    """Indices of the boxes to keep, of corners [n,4] with their classes [n], best first.

    Greedy: the best box that is left is kept, and those of its class that overlap it by more than `iou` go. At most
    `most` rounds over what is left.
    """
    sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    areas = sizes.prod(axis=1)
    left = np.arange(len(boxes))
    kept: list[int] = []
    while len(left) and len(kept) < most:
        best, left = left[0], left[1:]
        kept.append(int(best))
        shared = np.minimum(boxes[best, 2:], boxes[left, 2:]) - np.maximum(boxes[best, :2], boxes[left, :2])
        common = np.maximum(shared, 0).prod(axis=1)
        # Multiplied, not divided: two boxes without an area have no union, and do not overlap.
        overlaps = common > iou * (areas[best] + areas[left] - common)
        left = left[~(overlaps & (classes[left] == classes[best]))]
    return kept


def _split(spec: Boxes, boxes: NDArray[Any], scores: NDArray[Any] | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """[N,K,4] and [N,K,C] as views, whatever the outputs' layout."""
    axes = (0, 2, 1) if spec.layout == "NCK" else (0, 1, 2)
    where = boxes.transpose(axes) if boxes.ndim == 3 else boxes
    if where.ndim != 3 or (where.shape[2] <= 4 if scores is None else where.shape[2] != 4):
        last = "4+C" if scores is None else "4"
        raise refused(spec.boxes, f"[N, K, {last}]" if spec.layout == "NKC" else f"[N, {last}, K]", boxes)
    check_finite(spec.boxes, boxes)
    if scores is None:
        return where[:, :, :4], where[:, :, 4:]
    sure = scores.transpose(axes) if scores.ndim == 3 else scores[..., None]
    if sure.ndim != 3 or sure.shape[:2] != where.shape[:2] or sure.shape[2] == 0:
        raise refused(spec.scores, f"scores of {where.shape[1]} boxes, batch {where.shape[0]}", scores)
    check_finite(spec.scores, scores)
    return where, sure


def _kept(spec: Boxes, coordinates: NDArray[Any], scores: NDArray[Any]) -> list[Box]:
    """Of one batch position: [K,4] and [K,C]. Only what is over the threshold is copied, to float64."""
    rows, classes = np.nonzero(scores > spec.threshold)
    sure = scores[rows, classes].astype(np.float64)
    order = np.argsort(-sure, kind="stable")
    classes, sure = classes[order], sure[order]
    boxes = _corners(spec.format, coordinates[rows[order]].astype(np.float64))
    return [
        _box(spec, int(classes[index]), float(sure[index]), boxes[index])
        for index in suppress(boxes, classes, spec.iou, spec.most)
    ]


def _corners(format: str, boxes: Floats) -> Floats:
    """[n,4] as left, top, right, bottom."""
    if format == "xyxy":
        return boxes
    place, size = boxes[:, :2], boxes[:, 2:]
    start = place if format == "xywh" else place - size / 2
    return np.concatenate([start, start + size], axis=1)


def _box(spec: Boxes, index: int, score: float, corners: Floats) -> Box:
    left, top, right, bottom = corners.tolist()
    name = (spec.labels[index] if spec.labels else "") or str(index)
    return Box(name, index, score, (left, top, right, bottom))
