"""`edgekit bundle install` and `edgekit bundle rollback`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import FILE, Output, common, knobs
from edgekit.cli.progress import progress_bar
from edgekit.configs import InstallConfig

if TYPE_CHECKING:
    from edgekit.install import InstallReport


@click.command("install")
@click.argument("bundle", type=FILE)
@click.option("--to", "root", type=FILE, required=True, metavar="ROOT", help="Where this device has its bundles.")
@knobs(InstallConfig)
@common
def install_command(bundle: Path, root: Path, config: InstallConfig, output: Output) -> None:
    """Copy BUNDLE into ROOT, check it on this device, and make it ROOT/current; ROOT/previous is the one before.

    A failure or a crash leaves ROOT/current as it was. Exits 6 when this device cannot run it, 7 when it is damaged.
    """
    from edgekit.install import install

    with progress_bar(output) as progress:
        report = install(bundle, root, config, progress)
    _show(report, output)


@click.command("rollback")
@click.argument("root", type=FILE)
@knobs(InstallConfig)
@common
def rollback_command(root: Path, config: InstallConfig, output: Output) -> None:
    """Check ROOT/previous and make it ROOT/current again; what is current becomes previous."""
    from edgekit.install import rollback

    with progress_bar(output) as progress:
        report = rollback(root, config, progress)
    _show(report, output)


def _show(report: InstallReport, output: Output) -> None:
    health, before = report.health, report.replaced or "none"
    was = "as before" if before == report.version else f"before: {before}"
    with output.not_needed(f"{report.path} is {report.version} now"):
        output.warn(report.warnings)
        output.report(report.to_json())
        output.say(
            f"current   {report.path} -> {report.version} ({was})",
            f"signed    {report.signed}",
            f"runs on   {health.backend}, {health.device} ({health.reason})",
            f"compared  {health.compared}",
            report.verdict,
        )
