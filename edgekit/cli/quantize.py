"""`edgekit quantize`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common, knobs
from edgekit.cli.progress import progress_bar
from edgekit.configs import QuantizeConfig


@click.command("quantize")
@click.argument("source", type=FILE, metavar="IN.onnx")
@click.argument("out", type=FILE, metavar="OUT.onnx")
@knobs(QuantizeConfig, required=("precision",))
@common
def command(source: Path, out: Path, config: QuantizeConfig, output: Output) -> None:
    """Write any ONNX file at another precision; inputs and outputs keep their dtypes."""
    from edgekit.quantize import quantize

    with progress_bar(output) as progress:
        report = quantize(source, out, config, progress)
    output.warn(report.warnings)
    output.report(report.to_json())
    before, after = report.bytes_before / 1e6, report.bytes_after / 1e6
    if report.calibrated_on:
        output.say(f"{report.quantized_layers} layers in INT8, calibrated on {report.calibrated_on}")
    for line in report.left:
        output.say(line)
    output.say(f"{report.path}: {report.precision}, {before:.1f} MB -> {after:.1f} MB, {report.seconds:.1f} s")
