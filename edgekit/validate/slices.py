"""Does the average hide a damaged class, camera or place? Accuracy slice by slice, judged by McNemar's exact test.

A slice FAILS when its accuracy drops by more than is allowed, 1 point or what the budget says, and by more than two of
its samples, and when chance would rarely do that: p < 0.05 / judged slices, so that among many slices a false alarm is
as rare as in one (Bonferroni). It WARNS at a drop of more than 3 points with p < 0.1. A slice of fewer than 30 samples
is not judged: there two samples are 7 points.

Asked for, by `--slices` or by a promise `worst_slice_drop`, a failing slice breaks the accuracy gate. Without, slices
of classes are counted all the same, and one that would fail is a warning: nobody has said that this class matters.
Without labels the slices are the classes that the reference chooses, and its choice stands for what is right: an upper
bound of the drop, since the model may be right where the two differ. So they only warn.

The places of one sample, its tokens or pixels, are alike, and McNemar's test wants independent ones. Therefore a sample
has one vote in each of its slices, for whoever is right at more of its places there: the sign test of samples (Dixon
and Mood, JASA 41, 1946), which with one label a sample is McNemar's. The accuracies and the drop are those of places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count as count_from

from edgekit.budget import FAIL, INCONCLUSIVE, PASS, Finding, Limit
from edgekit.data import Indices
from edgekit.errors import DataError
from edgekit.metrics import SliceCount, mcnemar

WARN, NOT_JUDGED = "WARN", "not judged"
BY_LABEL = "label"
# The promise of the budget that slices keep or break.
WORST = "worst_slice_drop"
ALLOWED_DROP = 0.01
_JUDGED_FROM = 30
_LEVEL = 0.05
_DOUBT_DROP, _DOUBT_LEVEL = 0.03, 0.1
# Of the slices that are too small, only the largest stand in the report: a thousand of them say nothing.
_TOLD = 20


@dataclass(frozen=True)
class Slicing:
    """What the slices are: of a class each, or of a column's values: then `groups` int64 [count] says that of a sample.

    `names` are those of the slices by number; a class without a name is called by its number.
    """

    by: str = BY_LABEL
    names: tuple[str, ...] = ()
    groups: Indices | None = None

    def name(self, index: int) -> str:
        """What slice `index` is called."""
        return self.names[index] if index < len(self.names) else str(index)


@dataclass(frozen=True)
class Slice:
    """One slice of the data; accuracies and the drop are fractions 0..1 (the drop may be negative).

    `n` samples have a label in it, `labels` labels (more than n only for tokens and pixels). In `lost` samples the
    model has fewer of them right than the reference, in `won` more; `p` is how likely that many losses are by chance,
    None where n < 30. `outcome` is PASS, WARN, FAIL or 'not judged'.
    """

    name: str
    n: int
    labels: int
    reference: float
    found: float
    drop: float
    lost: int
    won: int
    p: float | None
    outcome: str


@dataclass(frozen=True)
class Sliced:
    """`by` is 'label' for classes, else a column. `slices` are the `judged` ones, largest drop first, then those of the
    `not_judged` with most samples, at most 20.

    Without labels `labelled` is false, `by` is 'class', `reference` is 1 and `found` the agreement with it.
    """

    by: str
    labelled: bool
    judged: int
    not_judged: int
    slices: tuple[Slice, ...]

    @property
    def level(self) -> float:
        """The p below which a slice fails."""
        return _LEVEL / max(self.judged, 1)

    def lines(self) -> Iterator[str]:
        """For a person: how many there are, and those that need a look; nothing where nothing was asked or judged."""
        if not self.labelled and not self.judged:
            return
        what = f"slices by {self.by}" if self.labelled else "slices by the class that the reference chooses"
        yield f"{what}: {self.judged} judged, {self.not_judged} of fewer than {_JUDGED_FROM} samples not judged"
        doubtful = [item for item in self.slices if item.outcome in (FAIL, WARN)]
        yield from (f"  {item.outcome} {self.told(item)}" for item in doubtful)
        if self.judged and not doubtful:
            yield f"  worst {self.told(self.slices[0])}"

    def told(self, item: Slice) -> str:
        """A slice in a few words."""
        chance = f"p {item.p:.2g}" if item.p is not None else f"{_JUDGED_FROM} are needed"
        name = f"{self.by} {item.name}"
        if not self.labelled:
            return f"{name}: the same in {item.found:.1%} ({item.lost} of {item.n} samples differ, {chance})"
        counts = f"{item.lost} lost, {item.won} won of {item.n} samples, {chance}"
        return f"{name}: {item.found:.1%}, the reference {item.reference:.1%} ({counts})"

    def warnings(self, asked: bool) -> Iterator[str]:
        """One line for each kind of doubt; where slices were `asked` for, one that fails is a finding instead."""
        failed = [item for item in self.slices if item.outcome == FAIL]
        doubtful = [item for item in self.slices if item.outcome == WARN]
        if failed and not asked:
            yield f"damaged: {self._most(failed)}; --slices {self.by} makes that a failure"
        if doubtful:
            yield f"perhaps damaged: {self._most(doubtful)}"
        if asked and self.not_judged:
            yield f"slices of fewer than {_JUDGED_FROM} samples are not judged: {self.not_judged} by {self.by}"

    def _most(self, items: list[Slice]) -> str:
        return self.told(items[0]) + (f" and {len(items) - 1} more" if len(items) > 1 else "")


def sliced(counts: Iterable[SliceCount], slicing: Slicing, *, labelled: bool, allowed: float = ALLOWED_DROP) -> Sliced:
    """Judge what was counted; `allowed` is the drop, a fraction, beyond which a slice can fail."""
    found = list(counts)
    number = sum(count.samples >= _JUDGED_FROM for count in found)
    slices = [_slice(count, slicing.name(count.slice)) for count in found]
    small = sorted((item for item in slices if item.p is None), key=lambda item: -item.n)
    whole = Sliced(slicing.by if labelled else "class", labelled, number, len(small), ())
    judged = [
        replace(item, outcome=_outcome(item, labelled, allowed, whole.level)) for item in slices if item.p is not None
    ]
    return replace(whole, slices=(*sorted(judged, key=lambda item: -item.drop), *small[:_TOLD]))


def judge_slices(limit: Limit, found: Sliced | None, *, promised: bool) -> Finding:
    """What slices say of `limit`, the drop that the worst of them may have; the finding names that slice.

    FAIL when one fails at this limit; else INCONCLUSIVE when none can be judged. What the budget `promised`, and not
    `--slices` alone, is INCONCLUSIVE too when a slice drops by more than the limit at p < 0.1: `missing` is about how
    many more samples of that slice would tell. Raises DataError where no labels were counted.
    """
    if found is None or not found.labelled:
        raise DataError("expected labels that slices can be judged by, found others or none", "--labels")
    judged = found.slices[: found.judged]
    failed = [item for item in judged if _falls(item, limit.value, found.level)]
    unclear = [item for item in judged if promised and _falls(item, limit.value, _DOUBT_LEVEL)]
    worst = (failed or unclear or found.slices)[0]
    outcome, missing = PASS, None
    if failed:
        outcome = FAIL
    elif not judged:
        outcome, missing = INCONCLUSIVE, _JUDGED_FROM - worst.n
    elif unclear:
        outcome, missing = INCONCLUSIVE, worst.n * (_times(worst, found.level) - 1)
    others = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return Finding(limit, outcome, worst.drop, worst.drop, worst.drop, missing, found.told(worst) + others)


def _slice(count: SliceCount, name: str) -> Slice:
    return Slice(
        name=name,
        n=count.samples,
        labels=count.labels,
        reference=count.reference / count.labels,
        found=count.found / count.labels,
        # Of counts: 0.98 - 0.97 is above 0.01 in floating point.
        drop=(count.reference - count.found) / count.labels,
        lost=count.lost,
        won=count.won,
        p=mcnemar(count.lost, count.won) if count.samples >= _JUDGED_FROM else None,
        outcome=NOT_JUDGED,
    )


def _outcome(item: Slice, labelled: bool, allowed: float, level: float) -> str:
    if labelled and _falls(item, allowed, level):
        return FAIL
    return WARN if _falls(item, _DOUBT_DROP, _DOUBT_LEVEL) else PASS


def _falls(item: Slice, allowed: float, level: float) -> bool:
    """Whether it drops by more than is allowed, and by more than two samples, and chance would rarely do that."""
    return item.p is not None and item.p < level and item.drop > max(allowed, 2 / item.n)


def _times(item: Slice, level: float) -> int:
    """How many times as many samples would tell, were as many of them lost and won."""
    return next(times for times in count_from(2) if mcnemar(times * item.lost, times * item.won) < level)
