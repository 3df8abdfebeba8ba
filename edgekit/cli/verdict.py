"""How accuracy and latency are told to a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgekit.reports import decibels

if TYPE_CHECKING:
    from edgekit.deploy import DeployReport
    from edgekit.validate import Accuracy, LatencyReport, ValidateReport


def judged_lines(report: ValidateReport | DeployReport) -> Iterator[str]:
    """What was measured, and what that says of each promise."""
    yield from _accuracy_lines(report.accuracy)
    yield from _latency_lines(report.latency)
    yield from map(str, report.findings)


def _accuracy_lines(accuracy: Accuracy) -> Iterator[str]:
    """A line for the distance to the reference, and one for the answers where there are any."""
    noise = ", ".join(f"{name} {decibels(value)}" for name, value in accuracy.sqnr_db.items())
    yield f"SQNR against the reference: {noise}"
    same = ", ".join(f"{name} {value:.1%}" for name, value in accuracy.agreement.items())
    if same:
        yield f"same class as the reference: {same}"
    for name, pair in (("top-1", accuracy.top1), ("top-5", accuracy.top5)):
        if pair is not None:
            yield f"{name} of {accuracy.scored}: {pair.found:.1%}, the reference {pair.reference:.1%}"
    if accuracy.perplexity is not None:
        pair = accuracy.perplexity
        yield f"perplexity of {accuracy.scored}: {pair.found:.4g}, the reference {pair.reference:.4g}"
    for part in (accuracy.slices, accuracy.robustness):
        yield from part.lines() if part is not None else ()


def _latency_lines(latency: LatencyReport | None) -> Iterator[str]:
    """Quantiles with their intervals, never a mean alone."""
    if latency is None:
        return
    found = latency.summary
    rate = f"{latency.fps:g} a second" if latency.fps else "one after the other"
    answered = (
        "" if latency.answered == found.n else f", of which {latency.answered} were answered before the time was over"
    )
    yield f"latency of {found.n} requests{answered}, {rate}: mean {found.mean_ms:.4g} ms"
    yield from found.lines(latency.deadline_ms)
