"""`edgekit deploy`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import FILE, Output, common, knobs
from edgekit.cli.progress import progress_bar
from edgekit.cli.verdict import judged_lines
from edgekit.configs import DeployConfig


@click.command("deploy")
@click.argument("model")
@click.argument("out_dir", type=FILE)
@knobs(DeployConfig, required=("target",))
@common
def command(model: str, out_dir: Path, config: DeployConfig, output: Output) -> int:
    """Export, quantize, build, validate and bundle MODEL.

    MODEL is what `edgekit export` takes, or an ONNX file. The deployable thing is OUT_DIR/bundle; what the stages
    made is in OUT_DIR/stages. Exits 3 when the accuracy budget is broken, 4 when that of latency is, 5 when too few
    requests were measured to tell; then no bundle is written. Without the target's TensorRT it exits 6: the bundle has
    no engine yet, and OUT_DIR/stages a package that builds it on the device.
    """
    from edgekit.deploy import deploy

    with progress_bar(output) as progress:
        report = deploy(model, out_dir, config, progress)
    output.warn(report.warnings)
    output.report(report.to_json())
    if report.int8_layers:
        output.say(f"{report.int8_layers} layers in INT8, calibrated on {report.calibrated_on}")
    for stage, path in report.stages.items():
        output.say(f"{stage:<9} {path}  {report.bytes[stage] / 1e6:.2f} MB")
    output.say(f"judged on {report.judged_on}")
    for line in judged_lines(report):
        output.say(line)
    output.say(f"bundle    {report.path if report.is_bundled else 'not written'}")
    output.say(report.verdict)
    if report.error is not None:
        raise report.error
    return report.exit_code
