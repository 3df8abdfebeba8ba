"""`edgekit plugins bench`."""

from __future__ import annotations

import click

from edgekit.cli.options import Output, common
from edgekit.cli.progress import progress_bar


@click.command("bench")
@click.option("--device", metavar="SM:MULTIPROCESSORS", help="Show what would run on such a device; runs nothing.")
@common
def bench_command(device: str | None, output: Output) -> None:
    """Time the kernels on this machine's GPU, beside what no kernel can go below."""
    from edgekit.plugins.bench import bench
    from edgekit.reports import plain

    with progress_bar(output) as progress:
        found = list(bench(device, progress))
    output.report({"problems": plain(found)})
    output.say(*map(str, found))
