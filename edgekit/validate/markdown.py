"""What `edgekit validate` found, in Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgekit.configs import ValidateConfig
from edgekit.latency.markdown import (
    command_block,
    command_line,
    machine_line,
    name,
    page,
    promises,
    quantiles,
    remarks,
    table,
    text,
    verdict_line,
)
from edgekit.reports import called, decibels
from edgekit.validate.accuracy import Accuracy
from edgekit.validate.slices import Sliced

if TYPE_CHECKING:
    from edgekit.validate import ValidateReport

# These say only where something is written.
_OUTPUTS = ("markdown", "html")
_MOST_SLICES = 5


def validate_markdown(report: ValidateReport, config: ValidateConfig | None = None) -> str:
    """The verdict, the promises, the accuracy, the slices that lost most, the latency, and what is doubtful.

    With the `config` that was asked for, also the command that does it again.
    """
    slices, latency = report.accuracy.slices, report.latency
    return page(
        [verdict_line(report.verdict), "", f"{name(called(report.source))} judged on {text(report.data)}."],
        promises(report.findings),
        ["", *table(["accuracy", "found", "reference"], _accuracy(report.accuracy))],
        _lost(slices) if slices else [],
        [*quantiles(latency.summary, latency.deadline_ms), "", machine_line(latency.environment.machine)]
        if latency
        else [],
        remarks(report.warnings),
        command_block(command_line("validate", report.source, config, _OUTPUTS)) if config else [],
    )


def _accuracy(accuracy: Accuracy) -> Iterator[tuple[str, str, str]]:
    for output, value in accuracy.sqnr_db.items():
        yield f"SQNR of {name(output)}", decibels(value), ""
    for output, value in accuracy.agreement.items():
        yield f"same class, {name(output)}", f"{value:.1%}", ""
    for title, pair in (("top-1", accuracy.top1), ("top-5", accuracy.top5)):
        if pair is not None:
            yield f"{title} of {name(accuracy.scored)}", f"{pair.found:.1%}", f"{pair.reference:.1%}"
    if accuracy.perplexity is not None:
        pair = accuracy.perplexity
        yield f"perplexity of {name(accuracy.scored)}", f"{pair.found:.4g}", f"{pair.reference:.4g}"


def _lost(slices: Sliced) -> list[str]:
    """A table of those that lost most; nothing where none lost anything. Those too small to be judged say nothing."""
    lost = [item for item in slices.slices[: slices.judged] if item.drop > 0][:_MOST_SLICES]
    rows = [
        [name(item.name), str(item.n), f"{item.found:.1%}", f"{item.reference:.1%}", text(item.outcome)]
        for item in lost
    ]
    return ["", *table([f"{text(slices.by)}, worst first", "samples", "found", "reference", ""], rows)] if rows else []
