"""`edgekit export`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common, knobs
from edgekit.cli.progress import progress_bar
from edgekit.configs import ExportConfig
from edgekit.errors import UsageError


@click.command("export")
@click.argument("model", required=False)
@click.argument("out", type=FILE, required=False)
@click.option("--list", "list_them", is_flag=True, help="List the architectures that MODEL can name.")
@knobs(ExportConfig)
@common
def command(model: str | None, out: Path | None, list_them: bool, config: ExportConfig, output: Output) -> None:
    """Export MODEL to the file OUT and compare it with PyTorch.

    MODEL is an architecture's name (--list), or module:callable, or path/file.py:callable, which returns
    (torch module, dict of example inputs).
    """
    if list_them:
        return _list(output)
    if model is None or out is None:
        raise UsageError("expected MODEL and OUT", "edgekit export efficientnet_lite0 model.onnx, or --list")
    from edgekit.export import export

    with progress_bar(output) as progress:
        report = export(model, out, config, progress)
    output.warn(report.warnings)
    output.report(report.to_json())
    sizes = len({str(difference.shapes) for difference in report.parity})
    worst = max(difference.largest_relative for difference in report.parity)
    output.say(f"{report.path}: opset {report.opset}, {report.bytes / 1e6:.1f} MB, {report.seconds:.1f} s")
    output.say(f"against PyTorch: {worst:.1e} of the largest value, at {sizes} sizes of input")
    return None


def _list(output: Output) -> None:
    from edgekit.models import ARCHITECTURES

    rows = [{"name": name, "family": item.family, "task": item.task} for name, item in ARCHITECTURES.items()]
    output.report({"architectures": rows})
    name, family = (max(len(row[key]) for row in rows) + 2 for key in ("name", "family"))
    for row in rows:
        output.say(f"{row['name']:<{name}}{row['family']:<{family}}{row['task']}")
