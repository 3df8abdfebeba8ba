"""How far two models are apart, and how often each is right. Meters that are fed batch by batch; sums are float64."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError

# The label that torch's cross entropy leaves out: padding, and positions that nothing is known of.
IGNORED = -100

Flags = npt.NDArray[np.bool_]


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

    def add(self, reference: npt.NDArray[Any], found: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], Flags]:
        """Scores of C classes: [N,C], [N,S,C] or [N,C,H,W]. A NaN chooses nothing, and so agrees with nothing.

        Returns what the reference chooses, int64 [N], [N,S] or [N,H,W], -100 for nothing, and whether the model chooses
        the same, bool of that shape.
        """
        wanted, got = rows_of_scores(reference), rows_of_scores(found)
        chosen = np.where(np.isnan(wanted).any(axis=1), IGNORED, wanted.argmax(axis=1))
        same = (chosen == got.argmax(axis=1)) & ~np.isnan(got).any(axis=1)
        self.same += int(np.count_nonzero(same))
        self.count += len(wanted)
        axis = class_axis(reference.shape)
        places = tuple(size for index, size in enumerate(reference.shape) if index != axis)
        return chosen.reshape(places), same.reshape(places)

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

    def add(self, scores: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> Flags:
        """Scores as `Agreement` takes them, and the right classes: [N], [N,S] or [N,H,W]; -100 is left out.

        The right class counts when fewer than k classes score higher. Ties with it count for the lower class, as
        `argmax` has it. Returns bool [rows], whether each place with a label is right. Raises DataError for labels
        that do not fit.
        """
        rows, classes = labelled(scores, labels)
        right = rows[np.arange(len(rows)), classes][:, None]
        before = np.arange(rows.shape[1])[None, :] < classes[:, None]
        better = ((rows > right) | ((rows == right) & before)).sum(axis=1)
        hits: Flags = (better < self.k) & ~np.isnan(rows).any(axis=1)
        self.classes = rows.shape[1]
        self.right += int(np.count_nonzero(hits))
        self.count += len(rows)
        return hits

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


class SliceCount(NamedTuple):
    """Counts of one slice: `samples` that have a label in it, their `labels`, and how many each model has right.

    In `lost` of the samples the model has fewer labels right than the reference, in `won` more. With one label a sample
    these are McNemar's two counts: right in the reference alone, and right in the model alone.
    """

    slice: int
    samples: int
    labels: int
    reference: int
    found: int
    lost: int
    won: int


class SliceCounts:
    """How often the model and its reference are right in each slice; memory grows with the slices, not the samples."""

    def __init__(self) -> None:
        self._counts = np.zeros((6, 0), np.int64)  # as in SliceCount; a column a slice

    def add(
        self,
        labels: npt.NDArray[np.int64],
        reference: Flags,
        found: Flags,
        groups: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Whole samples: their labels [N], [N,S] or [N,H,W], and which of those both models have right, bool [rows].

        -100 is left out, and has no row. `groups` int64 [N], 0 and above, is the slice of each sample; without it each
        label is in the slice of its class.
        """
        known = labels.reshape(len(labels), -1) != IGNORED
        sample = np.nonzero(known)[0]
        if not len(sample):
            return
        slices = labels.reshape(len(labels), -1)[known] if groups is None else groups[sample]
        width = max(self._counts.shape[1], int(slices.max()) + 1)
        self._counts = np.pad(self._counts, ((0, 0), (0, width - self._counts.shape[1])))
        # A sample that has several labels in a slice is one vote there.
        votes, vote = np.unique(sample * width + slices, return_inverse=True)
        lead = np.bincount(vote, found.astype(np.int64)) - np.bincount(vote, reference.astype(np.int64))
        of_vote = votes % width
        members = (of_vote, slices, slices[reference], slices[found], of_vote[lead < 0], of_vote[lead > 0])
        self._counts += np.stack([np.bincount(slice_, minlength=width) for slice_ in members])

    def __iter__(self) -> Iterator[SliceCount]:
        """The slices that have a label."""
        for index in np.flatnonzero(self._counts[0]).tolist():
            yield SliceCount(index, *self._counts[:, index].tolist())


def mcnemar(lost: int, won: int) -> float:
    """McNemar's test, exact and one-sided: P(X >= lost) for X ~ Binomial(lost + won, 1/2).

    How often as many answers would be lost by chance, were the model no worse than its reference: answers that both
    have right or both have wrong say nothing. McNemar, Psychometrika 12 (1947); for classifiers: Dietterich, Neural
    Computation 10 (1998). Integers, so nothing is rounded but the quotient.
    """
    total, ways, tail = lost + won, math.comb(lost + won, lost), 0
    for count in range(lost, total + 1):
        tail += ways
        ways = ways * (total - count) // (count + 1)
    return tail / (1 << total)


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
