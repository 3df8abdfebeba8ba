"""The output tensor becomes an answer: logits to labels with probabilities, in NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError, UsageError


@dataclass(frozen=True)
class Label:
    """One class of the answer; `probability` is its softmax, 0..1."""

    name: str
    index: int
    probability: float


def classify(logits: NDArray[Any], labels: tuple[str, ...], top: int = 1) -> list[list[Label]]:
    """Return the `top` most probable labels of each sample, the best first; equal logits keep the order of classes.

    `logits` is [C] or [N, C] of any real dtype; `labels` holds C names, or none at all. A class without a name, or
    with an empty one, is called by its index. The softmax exp(x - max) / sum is computed in float64: no finite logit
    overflows it. `top` above C gives all C.

    Raises DataError for another shape, a NaN or infinite logit, or a number of labels other than C; UsageError for
    `top` below 1.
    """
    if top < 1:
        raise UsageError(f"top: expected 1 or more, found {top}")
    rows = logits[None] if logits.ndim == 1 else logits
    if rows.ndim != 2 or rows.shape[1] == 0 or rows.dtype.kind not in "fiu":
        found = ", ".join(map(str, logits.shape))
        raise DataError(f"expected real logits [C] or [N, C] with C >= 1, found {logits.dtype}[{found}]")
    if labels and len(labels) != rows.shape[1]:
        raise DataError(f"expected one label for each of the {rows.shape[1]} classes, found {len(labels)} labels")
    values = rows.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(
            f"expected finite logits, found {np.count_nonzero(~np.isfinite(values))} NaN or infinite of {values.size}"
        )
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    # By logits, not by probabilities: far below the best, distinct logits share the probability zero.
    ranked = np.argsort(-values, axis=1, kind="stable")[:, :top]
    return [
        [Label(_name(labels, index), index, float(row[index])) for index in order.tolist()]
        for row, order in zip(probabilities, ranked, strict=True)
    ]


def _name(labels: tuple[str, ...], index: int) -> str:
    return (labels[index] if labels else "") or str(index)
