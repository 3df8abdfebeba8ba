"""`edgekit bench`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common, knobs
from edgekit.cli.progress import progress_bar
from edgekit.configs import BenchConfig


@click.command("bench")
@click.argument("source", type=FILE, metavar="ONNX_OR_BUNDLE")
@click.option("--out", type=FILE, metavar="F", help="Where the report goes.  [default: ONNX_OR_BUNDLE.bench.json]")
@knobs(BenchConfig)
@common
def command(source: Path, out: Path | None, config: BenchConfig, output: Output) -> int:
    """Measure the latency of an ONNX file or a bundle, stage by stage, and judge it by a budget.

    Exits 0 for PASS and without a budget, 4 when the budget is broken, 5 when too few requests were measured to tell,
    or under a condition that could change the verdict: a warning names it, and --allow NAME accepts it.
    """
    from edgekit.bench import bench, report_lines

    whole = source.resolve()  # "." has no name of its own
    with progress_bar(output) as progress:
        report = bench(source, out or whole.with_name(f"{whole.name}.bench.json"), config, progress)
    output.warn(report.warnings)
    output.report(report.to_json())
    for line in report_lines(report):
        output.say(line)
    for path in filter(None, (config.raw, config.html, config.trace, config.markdown)):
        output.say(f"written   {path}")
    output.say(report.verdict)
    return report.exit_code
