"""`edgekit doctor`."""

from __future__ import annotations

import click

from edgekit.cli.options import Output, common
from edgekit.cli.progress import progress_bar


@click.command("doctor")
@click.option("--gpu", is_flag=True, help="Try on this machine's GPU what only a GPU can show; without one, list it.")
@common
def command(gpu: bool, output: Output) -> int:
    """Say what this machine has, and for which targets it can build and run.

    With --gpu, exits 1 when a check failed, and 6 when none could run.
    """
    from edgekit.device import preflight, summary_lines
    from edgekit.reports import plain

    found = preflight()
    if not gpu:
        output.report(plain(found))
        output.say(*summary_lines(found))
        return 0
    from edgekit.selftest import selftest

    with progress_bar(output) as progress:
        tried = selftest(progress)
    output.report(plain(found) | {"selftest": plain(tried.checks)})
    speed = "speed is measured by edgekit plugins bench and edgekit validate BUNDLE"
    output.say(*summary_lines(found), "", *map(str, tried.checks), speed)
    return tried.exit_code
