"""What `edgekit bench` found, in Markdown for a pull request."""

from __future__ import annotations

from edgekit.bench.report import BenchReport
from edgekit.bench.text import arrivals, rate
from edgekit.configs import BenchConfig
from edgekit.latency.arrivals import OFFLINE
from edgekit.latency.markdown import (
    command_block,
    command_line,
    machine_line,
    name,
    page,
    promises,
    quantiles,
    remarks,
    text,
    verdict_line,
)
from edgekit.reports import called

# These say only where something is written.
_OUTPUTS = ("raw", "trace", "markdown", "html")


def bench_markdown(report: BenchReport, config: BenchConfig) -> str:
    """The verdict, the promises, the quantiles, the machine, what is doubtful, and the command that asked for it."""
    what = f"{name(called(report.source))} on {text(report.data)}, {arrivals(report)}: {rate(report)}"
    # Of requests that were all due at once, the latencies say only how many there were.
    found = quantiles(report.summary, report.deadline_ms) if report.mode != OFFLINE else []
    judge = "; ".join(text(line.strip()) for line in report.judge.lines()) if report.judge else ""
    return page(
        [verdict_line(report.verdict), "", f"Latency of {what}."],
        promises(report.findings),
        found,
        ["", f"An outside judge: {judge}."] if judge else [],
        ["", machine_line(report.environment.machine)],
        remarks(report.warnings),
        command_block(command_line("bench", report.source, config, _OUTPUTS)),
    )
