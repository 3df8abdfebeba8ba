"""Which layers to leave in floating point: those whose quantization alone costs most.

Leave-one-in: each layer is quantized alone, and its noise measured. The noise powers of single layers add up (predicted
32.7 dB, measured 32.3), so the best k layers to keep are the k noisiest, for every k, without further runs: each layer
counts the same, and that knapsack is solved by sorting.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

from edgekit.quantize.choice import Choice, Subject
from edgekit.quantize.held_back import HeldBack, Score
from edgekit.quantize.ranking import Noise, Ranking, predicted_db
from edgekit.reports import Progress

# A ranking needs fewer samples than a choice between near rivals.
_SAMPLES = 16
# Where no target is named: up to a tenth of the layers, as long as each one gains that much.
_SHARE_WITHOUT_TARGET, _LEAST_GAIN_DB = 10, 0.5


@dataclass(frozen=True)
class Aim:
    """What to reach on the samples held back; None asks nothing."""

    min_sqnr_db: float | None = None
    max_drop: float | None = None

    def holds(self, score: Score) -> bool:
        """Whether `score` reaches it."""
        near = self.min_sqnr_db is None or score.sqnr_db >= self.min_sqnr_db
        return near and (self.max_drop is None or (score.drop is not None and score.drop <= self.max_drop))


@dataclass(frozen=True)
class Kept:
    """The nodes that stay as they are, noisiest first, all measured scores by their number, and the ranking."""

    nodes: tuple[str, ...]
    measured: dict[int, Score]
    ranking: tuple[Noise, ...]


def noises(subject: Subject, choice: Choice, held_back: HeldBack, progress: Progress) -> tuple[Noise, ...]:
    """The noise of each layer, worst first."""
    found, units = [], subject.units
    for number, unit in enumerate(units):
        progress("measuring what each layer costs", number, len(units))
        others = {other.node for other in units} - {unit.node}
        score = held_back.score(subject.quantized(choice, others).SerializeToString(), _SAMPLES)
        found.append(Noise(unit.node, unit.op_type, score.noise))
    return tuple(sorted(found, key=lambda noise: -noise.power))


def keep(
    subject: Subject, choice: Choice, held_back: HeldBack, asked: tuple[str | None, Aim], progress: Progress
) -> Kept:
    """Keep as many of the noisiest layers as are asked for: a number, or `auto` for the fewest that reach the aim.

    Where even half of the layers do not reach it, that half is kept: the best there is of a model worth its name.
    """
    count, aim = asked
    ranking = noises(subject, choice, held_back, progress)
    measured: dict[int, Score] = {}

    def score_at(kept: int) -> Score:
        if kept not in measured:
            progress(f"trying with {kept} layers kept", len(measured), 0)
            nodes = [noise.layer for noise in ranking[:kept]]
            measured[kept] = held_back.score(subject.quantized(choice, nodes).SerializeToString())
        return measured[kept]

    if count is not None and count != "auto":
        number = min(int(count), len(ranking))
    elif aim == Aim():
        number = worth_keeping(ranking)
    else:
        number = fewest(lambda kept: aim.holds(score_at(kept)), _guess(ranking, aim), len(ranking) // 2)
    score_at(0)
    score_at(number)
    return Kept(tuple(noise.layer for noise in ranking[:number]), measured, ranking)


def worth_keeping(ranking: tuple[Noise, ...]) -> int:
    """How many layers pay by themselves, where no aim is named."""
    predicted = predicted_db(Ranking(ranking, 1.0))
    most = len(ranking) // _SHARE_WITHOUT_TARGET
    steps = list(itertools.pairwise(predicted[: most + 1]))
    # Between two that break the model there is no difference; behind one without noise there is nothing to gain.
    poor = (kept for kept, (db, more) in enumerate(steps) if db == math.inf or more - db < _LEAST_GAIN_DB)
    return next(poor, len(steps))


def _guess(ranking: tuple[Noise, ...], aim: Aim) -> int:
    if aim.min_sqnr_db is None:
        return 0
    predicted = predicted_db(Ranking(ranking, 1.0))[: len(ranking) // 2]
    return next((kept for kept, db in enumerate(predicted) if db >= aim.min_sqnr_db), len(predicted))


def fewest(holds: Callable[[int], bool], guess: int, most: int) -> int:
    """The smallest number up to `most` that holds, if holding for one means holding for more; else `most`.

    Starts at `guess` and doubles its steps, then halves what is left: few numbers are tried.
    """
    if holds(guess):
        low, high = -1, guess
        step = 1
        while high > 0 and high - step > low:
            if not holds(high - step):
                low = high - step
                break
            high -= step
            step *= 2
    else:
        low, high, step = guess, most, 1
        while low + step < most:
            if holds(low + step):
                high = low + step
                break
            low += step
            step *= 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
