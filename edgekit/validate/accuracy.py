"""Is the model still the model? All that the outputs of a model and of its reference say, batch by batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgekit.budget import Limit
from edgekit.data import Array, Batch, Indices, Labels
from edgekit.errors import DataError, ModelError
from edgekit.metrics import IGNORED, Agreement, Cosine, Flags, Perplexity, SliceCounts, Sqnr, TopK, class_axis
from edgekit.validate.robustness import Robustness
from edgekit.validate.slices import ALLOWED_DROP, Sliced, Slicing, sliced


@dataclass(frozen=True)
class Pair:
    """The same figure of the model and of its reference; `change` is how far it fell, or for a perplexity rose."""

    found: float
    reference: float
    change: float


@dataclass(frozen=True)
class Accuracy:
    """`sqnr_db`, `cosine` and `agreement` by output; what needs labels is of the output `scored`, '' without any.

    The perplexity is there for labels of sequences. `slices` are of the output `scored`, or without labels of the first
    one of class scores; `robustness` is there where it was asked for. Infinities and NaN are 'inf' and 'nan' in JSON.
    """

    sqnr_db: dict[str, float]
    cosine: dict[str, float]
    agreement: dict[str, float]
    scored: str = ""
    top1: Pair | None = None
    top5: Pair | None = None
    perplexity: Pair | None = None
    slices: Sliced | None = None
    robustness: Robustness | None = None

    def of(self, limit: Limit) -> float:
        """The value of an accuracy limit's key, of the worst output; DataError where these outputs have none."""
        by_output = {"sqnr_db": self.sqnr_db, "cosine": self.cosine, "agreement": self.agreement}
        if limit.key in by_output:
            values = by_output[limit.key].values()
            if not values:
                raise DataError("expected an output of class scores to judge agreement by, found none", "--budget")
            return min(values, key=lambda value: -math.inf if math.isnan(value) else value)
        figure, changed, _ = limit.key.partition("_")
        pair = {"top1": self.top1, "top5": self.top5, "perplexity": self.perplexity}[figure]
        if pair is None:
            raise DataError(f"expected labels that {figure} can be judged by, found others or none", "--labels")
        return pair.change if changed else pair.found


class _Marks:
    """How good one model is by the labels."""

    def __init__(self) -> None:
        self.top1, self.top5, self.perplexity = TopK(1), TopK(5), Perplexity()

    def add(self, scores: Array, labels: Labels) -> Flags:
        """Returns which of the labels it has right."""
        self.top5.add(scores, labels)
        if labels.ndim == 2:
            self.perplexity.add(scores, labels)
        return self.top1.add(scores, labels)


class Comparison:
    """Collects what `Accuracy` says. Choices are compared where `classifies` says that the outputs are class scores."""

    def __init__(self, *, classifies: bool, slicing: Slicing = Slicing()) -> None:
        self._classifies, self._slicing = classifies, slicing
        self._slices = SliceCounts()
        self._sqnr: dict[str, Sqnr] = {}
        self._cosine: dict[str, Cosine] = {}
        self._agreement: dict[str, Agreement] = {}
        self._scored = ""
        self._found, self._reference = _Marks(), _Marks()

    def add(self, wanted: Batch, found: Batch, labels: Labels | None, groups: Indices | None = None) -> None:
        """One batch of the reference and of the model; `groups` int64 [N] are its slices, if they are no classes.

        Raises ModelError when their outputs are not the same tensors, DataError for labels that fit no output.
        """
        if list(wanted) != list(found):
            raise ModelError(f"expected the outputs {list(wanted)} of the reference, found {list(found)}")
        for name, array in wanted.items():
            if array.shape != found[name].shape:
                raise ModelError(f"{name}: expected shape {array.shape} of the reference, found {found[name].shape}")
            self._sqnr.setdefault(name, Sqnr()).add(array, found[name])
            self._cosine.setdefault(name, Cosine()).add(array, found[name])
            if self._classifies and array.dtype.kind == "f" and class_axis(array.shape) is not None:
                chosen, same = self._agreement.setdefault(name, Agreement()).add(array, found[name])
                if labels is None and name == next(iter(self._agreement)):
                    known = chosen != IGNORED
                    self._slices.add(chosen, known[known], same[known])
        if labels is not None:
            self._scored = self._scored or _scored(wanted, labels)
            right = self._reference.add(wanted[self._scored], labels)
            self._slices.add(labels, right, self._found.add(found[self._scored], labels), groups)

    def result(self, allowed_drop: float = ALLOWED_DROP) -> Accuracy:
        """All of it so far; a slice fails when it drops by more than `allowed_drop`, a fraction."""
        found, reference = self._found, self._reference
        counts = list(self._slices)
        labelled, sequences = reference.top1.count > 0, reference.perplexity.count > 0
        return Accuracy(
            sqnr_db={name: meter.db() for name, meter in self._sqnr.items()},
            cosine={name: meter.value() for name, meter in self._cosine.items()},
            agreement={name: meter.fraction() for name, meter in self._agreement.items()},
            scored=self._scored,
            top1=_fall(found.top1, reference.top1) if labelled else None,
            top5=_fall(found.top5, reference.top5) if labelled and found.top5.classes > 5 else None,
            perplexity=_rise(found.perplexity.value(), reference.perplexity.value()) if sequences else None,
            slices=sliced(counts, self._slicing, labelled=labelled, allowed=allowed_drop) if counts else None,
        )


def _fall(found: TopK, reference: TopK) -> Pair:
    """Of counts: 0.98 - 0.97 is above 0.01 in floating point."""
    return Pair(found.fraction(), reference.fraction(), (reference.right - found.right) / found.count)


def _rise(found: float, reference: float) -> Pair:
    return Pair(found, reference, found / reference - 1)


def _scored(outputs: Batch, labels: Labels) -> str:
    """The first output with a score for each class of each label."""
    for name, array in outputs.items():
        axis = class_axis(array.shape) if array.dtype.kind == "f" else None
        if axis is not None and array.shape[:axis] + array.shape[axis + 1 :] == labels.shape:
            return name
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
    raise DataError(f"expected labels of a shape that class scores among {shapes} have, found {list(labels.shape)}")
