"""`edgekit check`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common, knobs
from edgekit.configs import CheckConfig


@click.command("check")
@click.argument("source", type=FILE, metavar="IN.onnx")
@knobs(CheckConfig, required=("target",))
@common
def command(source: Path, config: CheckConfig, output: Output) -> int:
    """Say which rules of the target the Q/DQ of a model break, node by node, with the remedy.

    Exits 6 when the target refuses the model, and 0 when it builds, also where an error costs speed or accuracy.
    """
    from edgekit.check import check

    report = check(source, config)
    output.report(report.to_json())
    for finding in report.findings:
        output.say(str(finding))
    for line in report.notes:
        output.say(f"note: {line}")
    others = len(report.findings) - report.errors
    output.say(f"{source}: {report.errors} errors and {others} notes for target {report.target}")
    if report.mendable:
        output.say(f"mend with: edgekit quantize {shlex.quote(str(source))} OUT.onnx --precision int8 --relegalize")
    return report.exit_code
