"""`edgekit check`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common, knobs
from edgekit.cli.progress import progress_bar
from edgekit.configs import CheckConfig


@click.command("check")
@click.argument("source", type=FILE, metavar="IN.onnx")
@knobs(CheckConfig, required=("target",))
@common
def command(source: Path, config: CheckConfig, output: Output) -> int:
    """Say, node by node, what the target would do with a model: fuse, loop over, take apart or refuse it, and why.

    Exits 0 when build-engine would succeed on that target, also where an error costs speed or
    accuracy, and 6 when it is refused.
    """
    from edgekit.check import check, lines, write_check_page

    with progress_bar(output) as progress:
        report = check(source, config, progress)
    output.report(report.to_json())
    for line in lines(report):
        output.say(line)
    if report.mendable:
        output.say(f"mend with: edgekit quantize {shlex.quote(str(source))} OUT.onnx --precision int8 --relegalize")
    if config.html is not None:
        write_check_page(report, config.html)
        output.say(f"page      {config.html}")
    return report.exit_code
