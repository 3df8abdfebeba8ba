"""`edgekit compare`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common


@click.command("compare")
@click.argument("before", type=FILE, metavar="A.json")
@click.argument("after", type=FILE, metavar="B.json")
@click.option(
    "--tolerance",
    type=click.FloatRange(0.001, 10),
    default=0.1,
    show_default=True,
    help="The change of the median that would not matter, a fraction; for p90 it is 1.5, for p99 2.5 times that.",
)
@common
def command(before: Path, after: Path, tolerance: float, output: Output) -> int:
    """Is B slower or less exact than A? Reports of validate and of bench, with their raw latencies.

    Exits 0 when B is no worse, 3 when it is less exact, 4 when it is slower, 5 when too little was measured to tell.
    What ran otherwise, such as another device, stands first.
    """
    if tolerance != tolerance:  # click's range lets a NaN through
        raise click.BadParameter("expected a number, found nan", param_hint="--tolerance")
    from edgekit.latency.comparison import compare_reports
    from edgekit.latency.reported import read_report
    from edgekit.reports import plain

    found = compare_reports(read_report(before), read_report(after), tolerance)
    output.warn(found.doubts)
    output.report({"stage": "compare", "schema": 1, "before": str(before), "after": str(after), **plain(found)})
    for line in found.lines():
        output.say(line)
    return found.exit_code
