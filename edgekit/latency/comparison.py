"""Two reports side by side: what differs in what ran, whether B is slower than A, and whether it is less exact.

Accuracy is what it is on the data: on the same data a figure is less exact when it falls by more than a point (1 % of
the samples and more than two of them), the SQNR by more than 1 dB, or when the perplexity rises by more than 1 %. On
other data it cannot be told. Nor can latency in another mode, at another rate, of other shapes or beside other models:
there another question was asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from edgekit.errors import DataError
from edgekit.latency.compare import (
    CANNOT_TELL,
    FASTER,
    NO_DIFFERENCE,
    SLOWER,
    TOLERANCE,
    Change,
    compare,
    slower_or_not,
)
from edgekit.latency.reported import BESIDE, DATA, MODE, RATE, SHAPES, Reported

LESS_EXACT, MORE_EXACT = "less exact", "more exact"
_EXIT_CODES = {LESS_EXACT: 3, SLOWER: 4, CANNOT_TELL: 5}
# Where both reports say one of these and it differs, their latencies answer different questions.
_OF_LATENCY = {MODE: "another mode", RATE: "another rate", BESIDE: "other models beside it", SHAPES: "other shapes"}
_POINT = 0.01
_DECIBELS = 1.0
_FEW = 2  # samples that may change sides without meaning anything
_ROUNDING = 1e-9  # 0.98 - 0.97 is above 0.01 in floating point


@dataclass(frozen=True)
class Exactness:
    """How a figure of accuracy went from A to B; `missing` samples more would tell, None where it is told."""

    key: str
    before: float
    after: float
    outcome: str
    missing: int | None = None

    def __str__(self) -> str:
        found = f"{self.key}: {self.before:.4g} -> {self.after:.4g}: {self.outcome}"
        if self.outcome != CANNOT_TELL:
            return found
        return f"{found}: {f'about {self.missing} more samples' if self.missing else 'other data'}"


@dataclass(frozen=True)
class Comparison:
    """`differences` are what ran otherwise, and `doubts` what the reports say of their conditions, told first.
    `apart` says why latencies cannot be compared, empty where they can.

    `exit_code` is 0 for no worse, 3 less exact, 4 slower, 5 cannot tell; the least of those that hold.
    """

    differences: tuple[str, ...]
    doubts: tuple[str, ...]
    apart: tuple[str, ...]
    latency: tuple[Change, ...]
    accuracy: tuple[Exactness, ...]
    verdict: str
    exit_code: int

    def lines(self) -> list[str]:
        """One for each difference, one for each figure, why latency cannot be told, and the verdict."""
        why = [f"latency: {CANNOT_TELL}: {', '.join(self.apart)}"] if self.apart else []
        return [
            *(f"differs: {item}" for item in self.differences),
            *map(str, self.latency),
            *why,
            *map(str, self.accuracy),
            self.verdict,
        ]


def compare_reports(before: Reported, after: Reported, tolerance: float = TOLERANCE) -> Comparison:
    """Compare what both reports have; DataError where they have nothing in common."""
    changes: tuple[Change, ...] = ()
    if before.latencies_ms is not None and after.latencies_ms is not None:
        changes = compare(before.latencies_ms, after.latencies_ms, tolerance)
    apart = _apart(before, after) if changes else ()
    if apart:  # and no number of requests would tell
        changes = tuple(replace(change, outcome=CANNOT_TELL, missing=None) for change in changes)
    exactness = _exactness(before, after)
    if not changes and not exactness:
        raise DataError(
            f"expected latencies or accuracy in both {before.path} and {after.path}, found them in one",
            "edgekit validate or edgekit bench, with the same options for both",
        )
    words = _words(changes, exactness)
    codes = [_EXIT_CODES[word] for word in words if word in _EXIT_CODES]
    return Comparison(
        differences=_differences(before, after),
        doubts=tuple(dict.fromkeys(f"{item.path}: {doubt}" for item in (before, after) for doubt in item.doubts)),
        apart=apart,
        latency=changes,
        accuracy=exactness,
        verdict=", ".join(words),
        exit_code=min(codes, default=0),
    )


def _words(changes: tuple[Change, ...], exactness: tuple[Exactness, ...]) -> list[str]:
    """What is wrong comes first, then what cannot be told, then what is better; else there is no difference."""
    outcomes = {change.outcome for change in exactness}
    if changes:
        outcomes |= {slower_or_not(changes)}
    said = [word for word in (LESS_EXACT, SLOWER, CANNOT_TELL, MORE_EXACT, FASTER) if word in outcomes]
    return said or [NO_DIFFERENCE]


def _differences(before: Reported, after: Reported) -> tuple[str, ...]:
    """Of what both reports say, and what only one of them has."""
    found = [
        f"{name}: {_short(before.conditions[name])} and {_short(after.conditions[name])}"
        for name in before.conditions
        if _differs(name, before, after)
    ]
    for what, has in (
        ("latencies", [item.latencies_ms is not None for item in (before, after)]),
        ("accuracy", [bool(item.accuracy) for item in (before, after)]),
    ):
        if has[0] != has[1]:
            found.append(f"{what}: only in {(before if has[0] else after).path}")
    return tuple(found)


def _apart(before: Reported, after: Reported) -> tuple[str, ...]:
    return tuple(text for name, text in _OF_LATENCY.items() if _differs(name, before, after))


def _differs(name: str, before: Reported, after: Reported) -> bool:
    """Whether both say the condition, and not the same: what an older report does not say is no difference."""
    a, b = before.conditions[name], after.conditions[name]
    return bool(a and b) and a != b


def _short(text: str) -> str:
    """A digest by its beginning, as git has it."""
    return text[:12] if len(text) == 64 and text.isalnum() else text


def _exactness(before: Reported, after: Reported) -> tuple[Exactness, ...]:
    keys = [key for key in before.accuracy if key in after.accuracy]
    same = before.conditions[DATA] == after.conditions[DATA] and before.samples == after.samples
    found = []
    for key in keys:
        a, b = before.accuracy[key], after.accuracy[key]
        outcome, missing = _judged(key, a, b, before.samples) if same else (CANNOT_TELL, None)
        found.append(Exactness(key, a, b, outcome, missing))
    return tuple(found)


def _judged(key: str, before: float, after: float, samples: int) -> tuple[str, int | None]:
    """The outcome on the same data, and how many samples are missing."""
    if before == after:
        return NO_DIFFERENCE, None
    if key.startswith("sqnr_db"):
        fall, allowed = before - after, _DECIBELS
    elif key == "perplexity":
        fall, allowed = (after - before) / before if math.isfinite(before) else -math.inf, _POINT
    else:
        fall, allowed = before - after, _POINT
        if abs(fall) > allowed + _ROUNDING and round(abs(fall) * samples) <= _FEW:
            return CANNOT_TELL, max(1, math.ceil((_FEW + 1) / abs(fall)) - samples)
    if abs(fall) <= allowed + _ROUNDING:
        return NO_DIFFERENCE, None
    return (LESS_EXACT if fall > 0 else MORE_EXACT), None
