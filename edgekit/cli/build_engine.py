"""`edgekit build-engine`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import FILE, Output, common, knobs
from edgekit.cli.progress import progress_bar
from edgekit.configs import BuildConfig

if TYPE_CHECKING:
    from edgekit.build.flavour import AbsentTensorRT


@click.command("build-engine")
@click.argument("source", type=FILE, metavar="IN.onnx")
@click.argument("out", type=FILE, metavar="OUT.engine")
@knobs(BuildConfig, required=("target",))
@common
def command(source: Path, out: Path, config: BuildConfig, output: Output) -> None:
    """Build any ONNX file into an engine; for target cpu the engine is the ONNX, checked.

    Without the target's TensorRT it writes OUT.engine.package/, which builds on the device, and exits 6.
    """
    from edgekit.build import build
    from edgekit.build.flavour import AbsentTensorRT
    from edgekit.build.text import build_lines

    try:
        with progress_bar(output) as progress:
            report = build(source, out, config, progress)
    except AbsentTensorRT as absent:
        raise _packed(source, out, config, absent, output) from absent
    output.warn(report.warnings)
    output.report(report.to_json())
    for line in build_lines(report):
        output.say(line)


def _packed(source: Path, out: Path, config: BuildConfig, absent: AbsentTensorRT, output: Output) -> AbsentTensorRT:
    """Write and tell of the package; return the error that names its command."""
    from edgekit.build.package import package
    from edgekit.build.text import package_lines

    report = package(source, out, config, absent)
    output.warn(report.warnings)
    output.report(report.to_json())
    for line in package_lines(report):
        output.say(line)
    return report.error
