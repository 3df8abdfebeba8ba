"""Accuracy as tables of a page: outputs, labels, slices with the worst first, perturbed pictures."""

from __future__ import annotations

from edgekit.budget import FAIL, PASS
from edgekit.pages.charts import meter
from edgekit.pages.markup import Cell, Html, Row, Value, joined, paragraph, table
from edgekit.pages.promises import exact, sortable
from edgekit.validate.accuracy import Accuracy, Pair
from edgekit.validate.robustness import Robustness
from edgekit.validate.slices import NOT_JUDGED, WARN, Slice, Sliced

_TONES = {PASS: "good", FAIL: "bad", WARN: "warn", NOT_JUDGED: "unknown"}
# So that a page stays small, however many there are; all of them stand in the report.
_MOST = 60
_MOST_OF_A_NAME = 60


def outputs_table(accuracy: Accuracy) -> Html:
    """SQNR, cosine and agreement of each output, the worst SQNR first."""
    ordered = sorted(accuracy.sqnr_db, key=lambda name: sortable(accuracy.sqnr_db[name]))
    rows = [
        (
            name[:_MOST_OF_A_NAME],
            _sqnr(accuracy.sqnr_db[name]),
            Cell(f"{accuracy.cosine[name]:.6f}", sort=sortable(accuracy.cosine[name])),
            _share(accuracy.agreement.get(name)),
        )
        for name in ordered[:_MOST]
    ]
    heads = ("output", "SQNR", "cosine", "same class")
    return joined(table("Outputs against the reference, the farthest first", heads, rows), _left(len(ordered)))


def labels_table(accuracy: Accuracy) -> Html:
    """Top-1, top-5 and perplexity of the model and its reference, where labels were given."""
    fractions = {"top-1": accuracy.top1, "top-5": accuracy.top5}
    rows: list[list[Cell | Value]] = []
    for name, pair in fractions.items():
        if pair is not None:
            rows.append([name, _share(pair.found), _share(pair.reference), _points(pair)])
    if accuracy.perplexity is not None:
        pair = accuracy.perplexity
        values = [Cell(exact(value), sort=sortable(value)) for value in (pair.found, pair.reference)]
        rows.append(["perplexity", *values, f"{exact(100 * pair.change)} % higher"])
    if not rows:
        return paragraph("No labels were given: how often the answers are right is not known.")
    caption = f"By the labels, of the output {accuracy.scored[:_MOST_OF_A_NAME]}"
    return table(caption, ("", "model", "reference", "change"), rows)


def slices_table(found: Sliced) -> Html:
    """The slices with the largest drop first; those of too few samples last."""
    shown = found.slices[:_MOST]
    largest = max((abs(item.drop) for item in shown), default=0.0) or 1.0
    rows = [_slice_row(item, largest) for item in shown]
    heads = (found.by, "outcome", "drop, points", "", "model", "reference", "lost", "won", "samples", "p")
    judged = f"{found.judged} judged, {found.not_judged} of too few samples not judged"
    against = "labels" if found.labelled else "the class that the reference chooses, in place of labels"
    caption = f"Slices by {against}, the largest drop first: {judged}; a slice fails below p {found.level:.2g}"
    return joined(table(caption, heads, rows, wide=(found.by,)), _left(len(found.slices)))


def robustness_table(found: Robustness) -> Html:
    """How both models bear each perturbation."""
    rows = [
        (
            item.kind if not item.strength else f"{item.kind} {item.strength:g}",
            _sqnr(item.sqnr_db),
            _share(item.agreement),
            _share(item.found_kept),
            _share(item.reference_kept),
        )
        for item in found.perturbed[:_MOST]
    ]
    heads = ("perturbation", "SQNR", "same class", "answers kept by the model", "by the reference")
    return table(f"Both models on {found.samples} perturbed samples", heads, rows)


def _slice_row(item: Slice, largest: float) -> Row:
    drop = Cell(f"{100 * item.drop:+.2f}", sort=item.drop)
    length = meter(abs(item.drop) / largest, "drop" if item.drop > 0 else "gain", ("gain", "drop"))
    p = None if item.p is None else Cell(f"{item.p:.2g}", sort=item.p)
    counts = (item.lost, item.won, item.n)
    outcome = Cell(item.outcome, tone=_TONES[item.outcome])
    shares = (_share(item.found), _share(item.reference))
    return Row((item.name[:_MOST_OF_A_NAME], outcome, drop, length, *shares, *counts, p))


def _sqnr(value: float) -> Cell:
    """In dB; the infinities say what they mean."""
    if value == float("inf"):
        return Cell("∞ (equal)", sort=sortable(value))
    if value == float("-inf"):
        return Cell("-∞ (NaN, Inf or no signal)", tone="bad", sort=sortable(value))
    return Cell(f"{exact(value)} dB" if value == value else exact(value), sort=sortable(value))


def _share(value: float | None) -> Cell | None:
    return None if value is None else Cell(f"{value:.2%}" if value == value else exact(value), sort=sortable(value))


def _points(pair: Pair) -> str:
    """A drop as points."""
    if pair.change == 0:
        return "none"
    return f"{abs(100 * pair.change):.3g} points {'lower' if pair.change > 0 else 'higher'}"


def _left(count: int) -> Html:
    return paragraph(f"{count - _MOST} more stand in the report alone.") if count > _MOST else Html("")
