"""The main job in one go: export, quantize, build, validate, bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekit.budget import Finding
from edgekit.build import BuildReport, build
from edgekit.build.package import PackageReport, package
from edgekit.configs import CALIBRATED, DeployConfig
from edgekit.deploy.described import check_recipe
from edgekit.deploy.plan import Plan, make_plan
from edgekit.deploy.ship import Judged, ship
from edgekit.device import find_gpus
from edgekit.errors import TargetError
from edgekit.files import json_bytes, written_aside
from edgekit.quantize import QuantizeReport, quantize
from edgekit.reports import Progress, StageReport, Stopwatch, no_progress, peak_rss_mib, report_file
from edgekit.rewrite.reading import read_onnx_file
from edgekit.targets import sm_names
from edgekit.validate import Accuracy, LatencyReport, ValidateReport, validate

__all__ = ["DeployReport", "deploy"]

_MOST = 0.5


@dataclass(frozen=True)
class DeployReport(StageReport):
    """`path` is the bundle's folder; without a PASS it is not written, and `stages` holds what was made.

    Where this machine cannot build the engine, `package` is what builds it on the device, the bundle has none yet, and
    `exit_code` is 6.
    """

    verdict: str
    exit_code: int
    findings: tuple[Finding, ...]
    int8_layers: int
    calibrated_on: str
    judged_on: str
    accuracy: Accuracy
    latency: LatencyReport | None
    stages: dict[str, Path]
    bytes: dict[str, int]
    package: PackageReport | None = None

    @property
    def is_bundled(self) -> bool:
        """Whether there is a bundle, with its engine or still without."""
        return self.exit_code in (0, TargetError.exit_code)

    @property
    def error(self) -> TargetError | None:
        """What is still to be done on the device, where there is such a thing."""
        if self.package is None or self.exit_code != TargetError.exit_code:
            return None
        packed = self.package
        add = f"edgekit bundle add-engine {self.path.name} {packed.path.name}/engine/{packed.path.stem} NEW"
        return TargetError(packed.reason, f"{packed.command} on {packed.where}, then {add}")


@dataclass(frozen=True)
class _Source:
    """The FP32 ONNX, and on what the result will be judged."""

    onnx: Path
    data: str
    judged_on: str
    warnings: tuple[str, ...]


def deploy(
    model: str, out: Path, config: DeployConfig = DeployConfig(), progress: Progress = no_progress
) -> DeployReport:
    """Take `model` (as `export` does, or an ONNX file) to a bundle in `out`/bundle, by way of `out`/stages.

    Raises what the stages raise. A broken budget is a verdict: then no bundle is written and an earlier one stays.
    For a target of which this machine has not the TensorRT, the bundle has no engine, and `out`/stages a package.
    """
    watch = Stopwatch()
    plan = make_plan(model, out, config)
    source = _source(model, plan, progress)
    check_recipe(source.onnx, plan)
    quantized = _quantized(source, plan, progress)
    ready = quantized.path if quantized else source.onnx
    engine, packed = _engine(ready, plan, progress)
    judged = _judged(source, ready, plan, progress)
    exit_code = judged.exit_code or (quantized.exit_code if quantized else 0)
    verdict = f"{judged.verdict}{_engine_clause(engine, packed)}"
    if quantized and exit_code and not judged.exit_code:
        verdict = f"{quantized.verdict}; the budget itself is kept: {verdict}"
    built = {"build": engine.path} if engine else {}
    stages = {"export": source.onnx, "quantize": ready, **built, "validate": judged.path}
    bundle = out / "bundle"
    # Example inputs are doubtful data by themselves, and the verdict says that they are no more than that.
    made = (source, quantized, engine, packed, None if source.judged_on else judged)
    notes = _precision_notes(engine, plan.precision)
    report = DeployReport(
        path=bundle,
        seconds=watch.seconds(),
        peak_rss_mib=peak_rss_mib(),
        warnings=tuple(dict.fromkeys([*(line for item in made if item for line in item.warnings), *notes])),
        verdict=verdict,
        exit_code=exit_code or (TargetError.exit_code if packed else 0),
        findings=judged.findings,
        int8_layers=quantized.quantized_layers if quantized else 0,
        calibrated_on=quantized.calibrated_on if quantized else "",
        judged_on=(source.judged_on or judged.data) + _seen_before(plan, quantized, judged),
        accuracy=judged.accuracy,
        latency=judged.latency,
        stages=stages,
        bytes={stage: path.stat().st_size for stage, path in stages.items()},
        package=packed,
    )
    with written_aside(report_file(bundle)) as told:  # first, so that a bundle does not come without it
        told.write_bytes(json_bytes(report.to_json()))
        if report.is_bundled:
            ship(bundle, plan, Judged(stages, quantized, engine, verdict, judged.findings, not model.endswith(".onnx")))
    return report


def _source(model: str, plan: Plan, progress: Progress) -> _Source:
    """Export, or take the ONNX file as it is."""
    whole = plan.stages / "model.onnx"
    if model.endswith(".onnx"):
        # With external weights brought in: what is judged and shipped must stand on its own.
        serialized = read_onnx_file(Path(model)).serialized
        with written_aside(whole) as partial:
            partial.write_bytes(serialized)
        return _Source(whole, plan.data or "", "", ())
    # The only room that imports torch: a device that starts from ONNX has none.
    from edgekit.export import examples_file, export

    made = export(model, whole, plan.export_config(), progress)
    if plan.data is not None:
        return _Source(whole, plan.data, "", made.warnings)
    judged_on = f"example inputs only ({made.examples_are}), not real data"
    return _Source(whole, str(examples_file(whole)), judged_on, made.warnings)


def _quantized(source: _Source, plan: Plan, progress: Progress) -> QuantizeReport | None:
    """FP32 stays what was exported."""
    if plan.precision == "fp32":
        return None
    return quantize(source.onnx, plan.stages / f"model.{plan.precision}.onnx", plan.quantize_config(), progress)


def _engine(ready: Path, plan: Plan, progress: Progress) -> tuple[BuildReport | None, PackageReport | None]:
    """The engine, or what builds it where it can be. For the cpu there is neither: onnxruntime runs the ONNX."""
    target = plan.config.target
    if target == "cpu":
        return None, None
    out = plan.stages / f"model.{target}.engine"
    if plan.absent is None:
        return build(ready, out, plan.build_config(), progress), None
    return None, package(ready, out, plan.build_config(), plan.absent)


def _precision_notes(engine: BuildReport | None, precision: str) -> tuple[str, ...]:
    """A warning where most of the engine is computed in another precision than was asked for, such as an LSTM."""
    shares = engine.compute.shares if engine is not None else None
    if not shares or precision == "int4":  # INT4 is for weights, which are multiplied in FP16 or FP32
        return ()
    asked = sum(shares.get(name, 0.0) for name in precision.split("+"))
    if asked >= _MOST:
        return ()
    told = ", ".join(f"{share:.1%} in {name}" for name, share in shares.items())
    return (f"only {asked:.1%} of the engine's multiply-adds are in {precision}: {told}",)


def _judged(source: _Source, ready: Path, plan: Plan, progress: Progress) -> ValidateReport:
    asked = plan.validate_config(source.onnx, source.data)
    return validate(ready, plan.stages / "accuracy.json", asked, progress)


def _seen_before(plan: Plan, quantized: QuantizeReport | None, judged: ValidateReport) -> str:
    """A model judged on the inputs that its scales come from looks better than it is."""
    if quantized is None or quantized.precision not in CALIBRATED:
        return ""
    same = plan.calibration_data == plan.data or quantized.calibration_sha256 == judged.data_sha256
    return " (INT8 was calibrated on them too)" if same else ""


def _engine_clause(engine: BuildReport | None, packed: PackageReport | None) -> str:
    """An engine that did not run is never passed off as one that did."""
    if packed is not None:
        return f"; engine {packed.target}: not built here"
    if engine is None:
        return ""
    built_for = sm_names(engine.compute_capabilities)
    why = "only onnxruntime judges yet" if find_gpus().gpus else "no GPU here"
    return f"; engine {engine.target} {built_for}: built, not run ({why})"
