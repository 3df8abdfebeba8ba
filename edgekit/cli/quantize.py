"""`edgekit quantize`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import FILE, Output, common, knobs
from edgekit.cli.progress import progress_bar
from edgekit.configs import QuantizeConfig

if TYPE_CHECKING:
    from edgekit.quantize import QuantizeReport


@click.command("quantize")
@click.argument("source", type=FILE, metavar="IN.onnx")
@click.argument("out", type=FILE, metavar="OUT.onnx")
@knobs(QuantizeConfig, required=("precision",))
@common
def command(source: Path, out: Path, config: QuantizeConfig, output: Output) -> int:
    """Write any ONNX file at another precision; inputs and outputs keep their dtypes.

    Exits 3 when --min-sqnr-db or --max-drop is missed; OUT.onnx is the best that was found."""
    from edgekit.quantize import quantize

    with progress_bar(output) as progress:
        report = quantize(source, out, config, progress)
    output.warn(report.warnings)
    output.report(report.to_json())
    for line in _lines(report):
        output.say(line)
    return report.exit_code


def _lines(report: QuantizeReport) -> Iterator[str]:
    """How the model came about, what it is, and the verdict."""
    for attempt in report.tried:
        yield f"{'kept' if attempt.kept else '':4}  {attempt.sqnr_db:6.2f} dB  {attempt.what}"
    yield from report.left
    if report.kept_layers:
        yield f"kept as they were, costliest first: {', '.join(report.kept_layers)}"
    layers = report.quantized_layers
    parts = [f"{layers} layer{'s' * (layers != 1)} in {report.precision}"] if layers else []
    yield from [", ".join([*parts, f"calibrated on {report.calibrated_on}"])] if report.calibrated_on else parts
    if report.held_back:
        score = "no noise" if report.held_back.sqnr_db == math.inf else f"{report.held_back.sqnr_db:.2f} dB"
        yield f"{score} on {report.held_back_samples} of them, held back while choosing"
    before, after = _size(report.bytes_before), _size(report.bytes_after)
    yield f"{report.path}: {report.precision}, {before} -> {after}, {report.seconds:.1f} s"
    if report.verdict:
        yield report.verdict


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
