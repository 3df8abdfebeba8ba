"""`edgekit inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common, knobs
from edgekit.configs import InspectConfig


@click.command("inspect")
@click.argument("file", type=FILE)
@knobs(InspectConfig)
@common
def command(file: Path, config: InspectConfig, output: Output) -> None:
    """Say what an ONNX file, an engine, a bundle, its archive or a report holds; nothing of it is executed."""
    from edgekit.inspect import inspect, write_html

    found = inspect(file)
    if config.html is not None:
        write_html(found, config.html)
    output.report(found.to_json())
    for line in found.lines():
        output.say(line)
    if config.html is not None:
        output.say(f"  page: {config.html}")
