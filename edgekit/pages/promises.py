"""A verdict and the promises behind it, as any report of a budget shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgekit.budget import FAIL, INCONCLUSIVE, PASS, Finding
from edgekit.pages.markup import Cell, Html, Row, Value, banner, notes, table

TONES = {PASS: "good", FAIL: "bad", INCONCLUSIVE: "warn"}
_MOST = 24  # rows of a table, so that a page stays small
_MOST_OF_A_LINE = 250
_HEADS = ("promise", "outcome", "found", "interval", "what is missing", "found in")


def verdict_banner(verdict: str, findings: Sequence[Finding]) -> Html:
    """`verdict` is the outcome and, in brackets, where it was found; below it how many promises hold, and how many are
    undecided."""
    outcome, _, rest = verdict.partition(" ")
    where, cut, engine = rest.partition("); engine ")  # a device's name may have brackets of its own
    ran = where.removeprefix("(") if cut else where.removeprefix("(").removesuffix(")")
    told = "; ".join(filter(None, (f"on {ran}" if ran else "", f"engine {engine}" if cut else "")))
    return banner(outcome, TONES.get(outcome, ""), told, _kept(findings))


def _kept(findings: Sequence[Finding]) -> str:
    """How many promises hold; what is undecided is not broken, and is told apart."""
    if not findings:
        return "Nothing was promised."
    held, undecided = (sum(item.outcome == outcome for item in findings) for outcome in (PASS, INCONCLUSIVE))
    rest = f", {undecided} {'is' if undecided == 1 else 'are'} undecided" if undecided else ""
    return f"{held} of {len(findings)} promises hold{rest}."


def promises(findings: Sequence[Finding]) -> Html:
    """Each promise of the budget with what was found; nothing for none."""
    if not findings:
        return Html("")
    caption = (
        "Promises of the budget; each end of an interval holds with 95 % confidence, exact is as counted on the data"
    )
    if all(item.limit.gate == "latency" for item in findings):
        caption = "Promises of the budget; each end of an interval holds with 95 % confidence"
    wide = ("what is missing", "found in")
    kept = [column for column, name in enumerate(_HEADS) if name != "found in" or any(item.where for item in findings)]
    rows = []
    for item in findings[:_MOST]:
        cells = _cells(item)
        rows.append(Row([cells[column] for column in kept]))
    return table(caption, [_HEADS[column] for column in kept], rows, wide=wide, stacks=True)


def _cells(item: Finding) -> list[Cell | Value]:
    interval = f"{exact(item.low)} .. {exact(item.high)}" if item.limit.gate == "latency" else "exact"
    return [
        str(item.limit),
        Cell(item.outcome, tone=TONES[item.outcome]),
        Cell(exact(item.value), sort=sortable(item.value)),
        interval,
        _missing(item),
        _short(item.where),
    ]


def _missing(item: Finding) -> str:
    if item.doubts:
        return f"in doubt: {', '.join(item.doubts)}"
    if item.outcome != INCONCLUSIVE:
        return "–"
    return f"about {item.missing:,} more samples" if item.missing else "no number of samples decides"


def _short(text: str) -> str:
    return text if len(text) <= _MOST_OF_A_LINE else f"{text[:_MOST_OF_A_LINE]}…"


def exact(value: float) -> str:
    """Four digits that count, and those before the point; an infinity as ∞, and what is no number says so."""
    if math.isnan(value):
        return "no number (NaN)"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def sortable(value: float) -> float:
    """A number that a table can be sorted by: what is no number is below all."""
    if math.isnan(value):
        return -1e300
    return min(max(value, -1e300), 1e300)


def warned(lines: Sequence[str], tone: str = "warn") -> Html:
    """Warnings, or what else is told, as a list; of very many or very long ones a part: the report has all of them."""
    shown = [_short(line) for line in lines[:_MOST]]
    left = [f"{len(lines) - _MOST} more stand in the report alone"] if len(lines) > _MOST else []
    return notes([*shown, *left], tone)
