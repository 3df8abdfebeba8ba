"""How far two models are apart, and how often each is right. Meters that are fed batch by batch; sums are float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError

# The label that torch's cross entropy leaves out: padding, and positions that nothing is known of.
IGNORED = -100


class Sqnr:
    """Signal to quantization noise in dB, over all values that `add` has seen: 10 log10(sum r^2 / sum (r - x)^2).

    Equal arrays give infinity; a NaN or Inf in `found` gives minus infinity, since no budget may be kept by a broken
    model. A minus infinity that stands in both is a masked logit: no difference, and it counts as nothing.
    """

    def __init__(self) -> None:
        self._signal = 0.0
        self._noise = 0.0

    def add(self, reference: npt.NDArray[Any], found: npt.NDArray[Any]) -> None:
        """Two arrays of the same shape, any numeric dtype."""
        wanted, got = _comparable(reference, found)
        with np.errstate(over="ignore"):  # float64 squares that overflow are as broken as an Inf
            self._signal += float(np.square(wanted).sum())
            self._noise += float(np.square(wanted - got).sum()) if np.isfinite(got).all() else math.inf

    def db(self) -> float:
        """The ratio so far, in dB."""
        if self._noise == 0.0:
            return math.inf
        if not math.isfinite(self._noise) or not math.isfinite(self._signal) or self._signal == 0.0:
            return -math.inf
        return 10 * math.log10(self._signal / self._noise)


class Cosine:
    """The cosine between all values of the reference and those found, as one long vector each: 1 is the same direction.

    A NaN or Inf gives minus one, so does a sum that overflows; two silent models agree.
    """

    def __init__(self) -> None:
        self._dot = self._wanted = self._got = 0.0

    def add(self, reference: npt.NDArray[Any], found: npt.NDArray[Any]) -> None:
        """Two arrays of the same shape, any numeric dtype."""
        wanted, got = _comparable(reference, found)
        finite = np.isfinite(wanted).all() and np.isfinite(got).all()
        with np.errstate(over="ignore", invalid="ignore"):  # float64 products may overflow
            self._dot += float((wanted * got).sum()) if finite else math.nan
            self._wanted += float(np.square(wanted).sum())
            self._got += float(np.square(got).sum())

    def value(self) -> float:
        """The cosine so far, -1..1."""
        if not all(map(math.isfinite, (self._dot, self._wanted, self._got))):
            return -1.0
        if self._wanted == 0.0 or self._got == 0.0:
            return float(self._wanted == self._got)
        # In this order the cosine of equal arrays is exactly 1.
        cosine = self._dot / self._wanted * (math.sqrt(self._wanted) / math.sqrt(self._got))
        return max(-1.0, min(1.0, cosine))


class Agreement:
    """How often both models choose the same class."""

    def __init__(self) -> None:
        self.same = 0
        self.count = 0

    def add(self, reference: npt.NDArray[Any], found: npt.NDArray[Any]) -> None:
        """Scores of C classes: [N,C], [N,S,C] or [N,C,H,W]. A NaN chooses nothing, and so agrees with nothing."""
        wanted, got = rows_of_scores(reference), rows_of_scores(found)
        broken = np.isnan(wanted).any(axis=1) | np.isnan(got).any(axis=1)
        self.same += int(np.count_nonzero((wanted.argmax(axis=1) == got.argmax(axis=1)) & ~broken))
        self.count += len(wanted)

    def fraction(self) -> float:
        """Agreeing choices among all, 0..1; NaN before the first."""
        return self.same / self.count if self.count else math.nan


class TopK:
    """How often the right class is among the `k` best scores."""

    def __init__(self, k: int) -> None:
        self.k = k
        self.right = 0
        self.count = 0
        self.classes = 0

    def add(self, scores: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> None:
        """Scores as `Agreement` takes them, and the right classes: [N], [N,S] or [N,H,W]; -100 is left out.

        The right class counts when fewer than k classes score higher. Ties with it count for the lower class, as
        `argmax` has it. Raises DataError for labels that do not fit.
        """
        rows, classes = labelled(scores, labels)
        right = rows[np.arange(len(rows)), classes][:, None]
        before = np.arange(rows.shape[1])[None, :] < classes[:, None]
        better = ((rows > right) | ((rows == right) & before)).sum(axis=1)
        self.classes = rows.shape[1]
        self.right += int(np.count_nonzero((better < self.k) & ~np.isnan(rows).any(axis=1)))
        self.count += len(rows)

    def fraction(self) -> float:
        """Right answers among all, 0..1; NaN before the first."""
        return self.right / self.count if self.count else math.nan


class Perplexity:
    """exp of the mean cross entropy of the right classes: how many tokens a language model hesitates between."""

    def __init__(self) -> None:
        self._nats = 0.0
        self.count = 0

    def add(self, scores: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> None:
        """Logits [N,S,C] and the token that belongs to each, [N,S]; -100 is left out."""
        rows, classes = labelled(scores, labels)
        # A broken model's infinities end in a NaN, which keeps no budget.
        with np.errstate(invalid="ignore", over="ignore"):
            shifted = rows - rows.max(axis=1, keepdims=True)
            logs = np.log(np.exp(shifted).sum(axis=1))
            self._nats += float((logs - shifted[np.arange(len(rows)), classes]).sum())
        self.count += len(rows)

    def value(self) -> float:
        """1 and above; infinite when it overflows, NaN before the first or for broken logits."""
        if not self.count:
            return math.nan
        mean = self._nats / self.count
        return math.exp(mean) if mean < 700 else mean if math.isnan(mean) else math.inf


def class_axis(shape: tuple[int, ...]) -> int | None:
    """Where the classes stand in scores of this shape; None where it cannot be scores.

    [N,C] and [N,S,C] have them last, a segmentation's [N,C,H,W] has them at axis 1.
    """
    axis = {2: 1, 3: 2, 4: 1}.get(len(shape))
    return axis if axis is not None and shape[axis] >= 2 else None


def rows_of_scores(scores: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Scores with their classes last, as float64 [rows, C]; DataError for another shape."""
    axis = class_axis(scores.shape)
    if axis is None:
        raise DataError(f"expected scores [N,C], [N,S,C] or [N,C,H,W] of two classes or more, found {scores.shape}")
    last = np.moveaxis(scores, axis, -1)
    return last.reshape(-1, last.shape[-1]).astype(np.float64)


def labelled(
    scores: npt.NDArray[Any], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The rows of `scores` that have a label, and those labels; DataError where the two do not fit."""
    rows, axis = rows_of_scores(scores), class_axis(scores.shape)
    wanted = tuple(size for index, size in enumerate(scores.shape) if index != axis)
    if labels.shape != wanted:
        raise DataError(f"expected labels {list(wanted)} for scores {list(scores.shape)}, found {list(labels.shape)}")
    flat = labels.reshape(-1)
    known = flat != IGNORED
    outside = flat[known & ((flat < 0) | (flat >= rows.shape[1]))]
    if len(outside):
        raise DataError(f"expected labels 0..{rows.shape[1] - 1} of the model's classes, found {outside[0]}")
    return rows[known], flat[known]


def _comparable(
    reference: npt.NDArray[Any], found: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Both as float64; where both are minus infinity, both become zero."""
    wanted, got = reference.astype(np.float64), found.astype(np.float64)
    masked = np.isneginf(wanted) & np.isneginf(got)
    if masked.any():
        wanted, got = np.where(masked, 0.0, wanted), np.where(masked, 0.0, got)
    return wanted, got
