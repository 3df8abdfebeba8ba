"""`edgekit run`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common, knobs
from edgekit.configs import RunConfig


@click.command("run")
@click.argument("bundle", type=FILE)
@knobs(RunConfig, required=("source",), once=("source",))
@common
def command(bundle: Path, config: RunConfig, output: Output) -> None:
    """Verify BUNDLE, open it, and run it on real input: samples one after the other, or a camera as it comes."""
    from edgekit.errors import SessionError
    from edgekit.run import Answered, Frame, run
    from edgekit.run.live import ended

    def show(shown: Frame | Answered | str) -> None:
        if isinstance(shown, str):
            output.say(shown)
            return
        if isinstance(shown, Frame):
            times = f"preprocess {shown.preprocess_ms:.1f} ms, compute {shown.compute_ms:.1f} ms"
        else:
            held = ", held" if shown.held else ""
            times = f"age {shown.age_ms:.1f} ms, compute {shown.compute_ms:.1f} ms, dropped {shown.dropped}{held}"
        output.say(f"{shown.name:<16} {', '.join(shown.answer):<40} {times}")

    report = run(bundle, config, show)
    output.report(report.to_json())
    if report.loop is not None:
        output.say(*ended(report.loop))
    output.say(f"ran on {report.backend}, {report.device} ({report.reason})")
    if report.failed:
        raise SessionError(f"expected the loop to go on, found that it had to end: {report.failed}")
