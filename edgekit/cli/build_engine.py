"""`edgekit build-engine`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common, knobs
from edgekit.cli.progress import progress_bar
from edgekit.configs import BuildConfig


@click.command("build-engine")
@click.argument("source", type=FILE, metavar="IN.onnx")
@click.argument("out", type=FILE, metavar="OUT.engine")
@knobs(BuildConfig, required=("target",))
@common
def command(source: Path, out: Path, config: BuildConfig, output: Output) -> None:
    """Build any ONNX file into an engine; for target cpu the engine is the ONNX, checked."""
    from edgekit.build import build

    with progress_bar(output) as progress:
        report = build(source, out, config, progress)
    output.warn(report.warnings)
    output.report(report.to_json())
    output.say(f"{report.path}: {report.flavour} {report.version}, {report.bytes / 1e6:.1f} MB, {report.seconds:.1f} s")
    if report.compute_capabilities:
        output.say(
            f"for compute capability {', '.join(report.compute_capabilities)}; {len(report.layers)} fused layers"
        )
    for shape in report.shapes:
        output.say(f"shapes {shape}")
