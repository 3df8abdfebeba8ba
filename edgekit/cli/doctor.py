"""`edgekit doctor`."""

from __future__ import annotations

import click

from edgekit.cli.options import Output, common


@click.command("doctor")
@common
def command(output: Output) -> None:
    """Say what this machine has, and for which targets it can build and run."""
    from edgekit.device import preflight, summary_lines
    from edgekit.reports import plain

    found = preflight()
    output.report(plain(found))
    for line in summary_lines(found):
        output.say(line)
