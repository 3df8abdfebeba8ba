"""What a run is also written as, beside its report: raw times, a page, a trace, a summary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgekit.bench.markdown import bench_markdown
from edgekit.bench.measuring import Measured
from edgekit.bench.page import bench_page
from edgekit.bench.report import BenchReport
from edgekit.bench.trace import write_trace
from edgekit.configs import BenchConfig
from edgekit.latency.raw import write_samples

# Writes to a path that it is given, aside of the one that was asked for.
Writer = Callable[[Path, BenchReport, Measured], None]


def papers(config: BenchConfig) -> list[tuple[Path, Writer]]:
    """Where to write what, as `config` asks."""
    asked: tuple[tuple[Path | None, Writer], ...] = (
        (config.raw, lambda out, _, run: write_samples(out, run.samples, run.times)),
        (config.html, lambda out, report, run: _write(out, bench_page(report, run))),
        (config.trace, write_trace),
        (config.markdown, lambda out, report, _: _write(out, bench_markdown(report, config))),
    )
    return [(path, writer) for path, writer in asked if path is not None]


def _write(out: Path, text: str) -> None:
    out.write_text(text, encoding="utf-8")
