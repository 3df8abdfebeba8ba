"""What a run is also written as, beside its report: raw times, a page, a trace, a summary."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

from edgekit.bench.measuring import Measured
from edgekit.bench.report import BenchReport
from edgekit.configs import BenchConfig
from edgekit.files import check_apart
from edgekit.latency.raw import write_samples

# Writes to a path that it is given, aside of the one that was asked for.
Writer = Callable[[Path, BenchReport, Measured], None]


def papers(config: BenchConfig) -> list[tuple[Path, Writer]]:
    """Where to write what, as `config` asks."""
    asked: tuple[tuple[Path | None, Writer], ...] = (
        (config.samples, lambda out, _, run: write_samples(out, run.samples, run.times)),
    )
    return [(path, writer) for path, writer in asked if path is not None]


def check_all_apart(source: Path, outs: list[Path]) -> None:
    """Raise OutputError where two of the files are one."""
    for first, second in combinations([source, *outs], 2):
        check_apart(first, second)
