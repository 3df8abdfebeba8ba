"""`edgekit run`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common, knobs
from edgekit.configs import RunConfig


@click.command("run")
@click.argument("bundle", type=FILE)
@knobs(RunConfig, required=("source",))
@common
def command(bundle: Path, config: RunConfig, output: Output) -> None:
    """Verify BUNDLE, open it, and run it on pictures or arrays, one after the other."""
    from edgekit.run import Frame, run

    def show(frame: Frame) -> None:
        times = f"preprocess {frame.preprocess_ms:.1f} ms, compute {frame.compute_ms:.1f} ms"
        output.say(f"{frame.name:<16} {', '.join(frame.answer):<40} {times}")

    report = run(bundle, config, show)
    output.report(report.to_json())
    output.say(f"ran on {report.backend}, {report.device} ({report.reason})")
