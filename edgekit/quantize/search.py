"""`--method auto`: try what may help, and keep what does, on samples that the ranges did not see.

Each of these helped some network and hurt another: clipped ranges, clipped weights, SmoothQuant, bias correction. So
they are tried one after the other, each on top of what was kept before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from edgekit.data import Samples
from edgekit.quantize.choice import Choice, Subject
from edgekit.quantize.compensate import with_gptq
from edgekit.quantize.held_back import HeldBack, Score
from edgekit.quantize.shift import can_shift
from edgekit.quantize.smooth import can_smooth
from edgekit.reports import Progress

# The usual 0.5 cost a sentence encoder 5.6 dB where 0.85 gained 8.7: so both ends are tried.
_ALPHAS = (0.5, 0.65, 0.75, 0.85, 0.95)
_POWERS = (0.5, 0.75, 1.0)
# A classifier's one product at the end of fifty convolutions is not worth ten more runs.
_SHARE_TO_SMOOTH = 10

Stream = Callable[[], Iterator[Samples]]


@dataclass(frozen=True)
class Tried:
    """One try: what it was, the SQNR on the samples held back, and whether it was kept."""

    what: str
    sqnr_db: float
    kept: bool


@dataclass(frozen=True)
class Found:
    """The best choice, the subject with what belongs to it, and the way to it."""

    choice: Choice
    subject: Subject
    tried: tuple[Tried, ...]


def search(subject: Subject, held_back: HeldBack, stream: Stream | None, progress: Progress) -> Found:
    """Choose for all layers of `subject` together; twice through the rules, since one can make room for another.

    When the rules are chosen, the samples held back enter the ranges too: what only they have shown would be clipped.
    GPTQ comes last, since it costs another pass over the other samples, which `stream` reads, and holds for one choice.
    """
    search = _Search(subject, held_back, progress)
    for _ in range(2):
        before = search.best
        for rule in _rules(subject):
            search.try_all(rule)
        if search.best == before:
            break
    search.see_all()
    compensated = with_gptq(search.subject, search.best, stream, progress) if stream else None
    if compensated is not None:
        search.subject = compensated
        search.try_all([("weights by GPTQ", {"weights": "gptq"})], any_gain=True)
        if search.best.bias:
            search.try_all([("GPTQ without bias correction", {"bias": False})])
    return Found(search.best, search.subject, tuple(search.tried.values()))


class _Search:
    """The best choice so far, and all that was tried, by choice."""

    def __init__(self, subject: Subject, held_back: HeldBack, progress: Progress) -> None:
        self.tried: dict[Choice, Tried] = {}
        self.subject, self.best = subject, Choice()
        self._held_back, self._progress = held_back, progress
        self._score = self._scored(self.best, "the largest value everywhere", True)

    def try_all(self, rule: list[tuple[str, dict[str, Any]]], *, any_gain: bool = False) -> None:
        """Try each change of the best choice, and take one of them where it is better by more than chance.

        It is the first one, and rules name the mild ones first, that is not worse than the best of them by more than
        chance: strong ones use up headroom that other data may need. With `any_gain` any gain is enough: for what costs
        nothing at run time, and helps almost always.
        """
        scores = {}
        for what, change in rule:
            choice = replace(self.best, **change)
            if choice not in self.tried:
                scores[choice] = self._scored(choice, what, False)
        gains = {choice: score.gain_db(self._score) for choice, score in scores.items()}
        best = max(gains, key=lambda choice: gains[choice], default=self.best)
        if gains.get(best, 0.0) > 0 or (any_gain and best in scores and scores[best].noise < self._score.noise):
            near = (choice for choice in scores if gains[choice] > 0 and not scores[best].gain_db(scores[choice]))
            winner = next(near, best)
            self.best, self._score = winner, scores[winner]
            self.tried[winner] = replace(self.tried[winner], kept=True)

    def see_all(self) -> None:
        """Take the ranges of all samples from now on."""
        self.subject = with_all_samples(self.subject, self._held_back)
        self._score = self._held_back.score(self.subject.quantized(self.best).SerializeToString())

    def _scored(self, choice: Choice, what: str, kept: bool) -> Score:
        self._progress(f"trying {what}", len(self.tried), 0)
        score = self._held_back.score(self.subject.quantized(choice).SerializeToString())
        self.tried[choice] = Tried(what, score.sqnr_db, kept)
        return score


def with_all_samples(subject: Subject, held_back: HeldBack) -> Subject:
    """The subject with what was seen on the samples held back too."""
    return replace(subject, statistics=subject.statistics.merged(held_back.statistics))


def _rules(subject: Subject) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The values of each field of a choice: SmoothQuant for products, least squares for int8 alone."""
    if subject.layers:
        # First: shift comes with it, and must gain more than it does.
        yield [("bias correction", {"bias": True}), ("no bias correction", {"bias": False})]
    if can_shift(subject.model, subject.layers, subject.statistics):
        # Far from their mean, inputs make more of what the weights lose on average: so the bias is corrected with it.
        shifted = ("activations shifted to the middle of their ranges", {"shift": True, "bias": True})
        yield [shifted, ("no shift", {"shift": False})]
    smoothable = sum(can_smooth(layer, subject.model) for layer in subject.layers)
    if smoothable and smoothable * _SHARE_TO_SMOOTH >= len(subject.layers):
        alphas = [(f"SmoothQuant with alpha {alpha:g}", {"alpha": alpha}) for alpha in _ALPHAS]
        yield [*alphas, ("no SmoothQuant", {"alpha": None})]
    if subject.recurrent:
        powers = [(f"recurrent inputs weighed by power {power:g}", {"weigh": power}) for power in _POWERS]
        yield [*powers, ("no weighing", {"weigh": None})]
    if subject.layers:
        float8 = subject.form.float8
        ranges = ("max", "percentile") if float8 else ("max", "mse", "percentile")
        yield [(f"ranges by {rule}", {"ranges": rule}) for rule in ranges]
        if not float8:
            yield [(f"weights by {rule}", {"weights": rule}) for rule in ("max", "mse")]
