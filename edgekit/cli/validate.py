"""`edgekit validate`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common, knobs
from edgekit.cli.progress import progress_bar
from edgekit.cli.verdict import judged_lines
from edgekit.configs import ValidateConfig


@click.command("validate")
@click.argument("source", type=FILE, metavar="ONNX_OR_BUNDLE")
@click.option("--out", type=FILE, metavar="F", help="Where the report goes.  [default: ONNX_OR_BUNDLE.validate.json]")
@knobs(ValidateConfig, required=("reference", "data"))
@common
def command(source: Path, out: Path | None, config: ValidateConfig, output: Output) -> int:
    """Judge an ONNX file or a bundle against its FP32 reference and a budget.

    Exits 0 for PASS, 3 when accuracy fails, 4 when latency fails, 5 when too few requests or samples were measured to
    tell. Accuracy by class is shown in any case; with --slices, or worst_slice_drop<=0.03 in the budget, a class that
    lost more than chance explains fails, however good the average is.
    """
    from edgekit.validate import validate

    whole = source.resolve()  # "." has no name of its own
    with progress_bar(output) as progress:
        report = validate(source, out or whole.with_name(f"{whole.name}.validate.json"), config, progress)
    output.warn(report.warnings)
    output.report(report.to_json())
    output.say(f"judged on {report.data}")
    for line in judged_lines(report):
        output.say(line)
    for path in filter(None, (config.html, config.markdown)):
        output.say(f"written   {path}")
    output.say(report.verdict)
    return report.exit_code
