"""`edgekit inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common


@click.command("inspect")
@click.argument("file", type=FILE)
@common
def command(file: Path, output: Output) -> None:
    """Say what an ONNX file, an engine, a bundle or a report holds; nothing of it is executed."""
    from edgekit.inspect import inspect

    found = inspect(file)
    output.report({"path": str(found.path), "kind": found.kind, **found.facts})
    output.say(f"{found.path}: {found.kind}")
    for key, value in found.facts.items():
        if isinstance(value, dict):
            output.say(f"  {key}:")
            for name, item in value.items():
                output.say(f"    {name}: {item}")
        else:
            output.say(f"  {key}: {', '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}")
