"""The main job in one go: export, quantize, build, validate, bundle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edgekit import __version__
from edgekit.budget import parse_budget
from edgekit.build import BuildReport, build, check_buildable
from edgekit.build.profiles import shape_ranges
from edgekit.bundle import Contents, EngineEntry, Manifest, ModelEntry, pack
from edgekit.configs import BuildConfig, DeployConfig, ExportConfig, ValidateConfig
from edgekit.data import check_there
from edgekit.device import find_gpus
from edgekit.errors import ShapeError, UsageError
from edgekit.files import json_bytes, written_aside
from edgekit.judge import OPTIMIZATION
from edgekit.quantize import QuantizeReport, quantize
from edgekit.recipe import Recipe, load_recipe, recipe_of
from edgekit.reports import Progress, StageReport, Stopwatch, no_progress, peak_rss_mib
from edgekit.rewrite.reading import graph_inputs, graph_outputs, metadata, read_onnx, read_onnx_file
from edgekit.specs import Postprocess, ShapeRange, TensorSpec, to_table
from edgekit.validate import ValidateReport, validate

__all__ = ["DeployReport", "deploy"]


@dataclass(frozen=True)
class DeployReport(StageReport):
    """`path` is the bundle's folder; after a FAIL it is not written, and `stages` holds what was made."""

    verdict: str
    exit_code: int
    broken: tuple[str, ...]
    judged_on: str
    sqnr_db: dict[str, float | str]
    stages: dict[str, Path]
    bytes: dict[str, int]


@dataclass(frozen=True)
class _Plan:
    """What was asked for, with the recipe's values where nothing was given."""

    config: DeployConfig
    recipe: Recipe
    recipe_name: str | None
    precision: str
    stages: Path

    @property
    def calibration_data(self) -> str | None:
        """INT8 without inputs of its own is calibrated on those that judge it."""
        return self.config.calibrate_on or self.config.data or self.recipe.quantize.data


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
    """
    watch = Stopwatch()
    plan = _plan(model, out, config)
    _check_beforehand(plan)
    source = _source(model, plan, progress)
    quantized = _quantized(source, plan, progress)
    ready = quantized.path if quantized else source.onnx
    engine = _engine(ready, plan, progress)
    judged = _judged(source, ready, plan, progress)
    verdict = f"{judged.verdict}{_engine_clause(engine)}"
    built = {"build": engine.path} if engine else {}
    stages = {"export": source.onnx, "quantize": ready, **built, "validate": judged.path}
    bundle = out / "bundle"
    if judged.exit_code == 0:
        _bundle(bundle, plan, stages, engine, verdict)
    report = DeployReport(
        path=bundle,
        seconds=watch.seconds(),
        peak_rss_mib=peak_rss_mib(),
        warnings=tuple(line for made in (source, quantized, engine) if made for line in made.warnings),
        verdict=verdict,
        exit_code=judged.exit_code,
        broken=judged.broken,
        judged_on=(source.judged_on or judged.data) + _seen_before(plan, source),
        sqnr_db=judged.sqnr_db,
        stages=stages,
        bytes={stage: path.stat().st_size for stage, path in stages.items()},
    )
    report.write()
    return report


def _plan(model: str, out: Path, config: DeployConfig) -> _Plan:
    name = config.recipe
    if name is None:
        name = recipe_of(model)
    if name is None and model.endswith(".onnx"):
        architecture = metadata(read_onnx(Path(model)), "architecture")
        name = recipe_of(architecture)
    recipe = load_recipe(name) if name else Recipe()
    return _Plan(config, recipe, name, config.precision or recipe.quantize.precision, out / "stages")


def _check_beforehand(plan: _Plan) -> None:
    """What can be known to be wrong now would waste minutes of exporting."""
    check_buildable(_build_config(plan))
    parse_budget(plan.config.budget or plan.recipe.validate.budget)
    if plan.config.data is not None:
        check_there(plan.config.data)


def _source(model: str, plan: _Plan, progress: Progress) -> _Source:
    """Export, or take the ONNX file as it is."""
    config = plan.config
    if model.endswith(".onnx"):
        if config.data is None:
            raise UsageError("expected data to judge an ONNX file on, since it carries no examples", "--data D")
        # With external weights brought in: what is judged and shipped must stand on its own.
        whole = plan.stages / "model.onnx"
        serialized = read_onnx_file(Path(model)).serialized
        with written_aside(whole) as partial:
            partial.write_bytes(serialized)
        return _Source(whole, config.data, "", ())
    # The only room that imports torch: a device that starts from ONNX has none.
    from edgekit.export import examples_file, export

    recipe = plan.recipe.export
    out = plan.stages / "model.onnx"
    asked = ExportConfig(config.weights or recipe.weights, recipe.opset, recipe.dynamic, recipe.tolerance, True)
    made = export(model, out, asked, progress)
    if config.data is not None:
        return _Source(out, config.data, "", made.warnings)
    judged_on = f"example inputs only ({made.examples_are}), not real data"
    return _Source(out, str(examples_file(out)), judged_on, made.warnings)


def _quantized(source: _Source, plan: _Plan, progress: Progress) -> QuantizeReport | None:
    """FP32 stays what was exported."""
    if plan.precision == "fp32":
        return None
    out = plan.stages / f"model.{plan.precision}.onnx"
    recipe, data = plan.recipe.quantize, plan.calibration_data
    asked = replace(recipe, precision=plan.precision, data=data, recipe=plan.recipe_name)
    return quantize(source.onnx, out, asked, progress)


def _build_config(plan: _Plan) -> BuildConfig:
    recipe, config = plan.recipe.build, plan.config
    return BuildConfig(
        config.target,
        config.compute_capability or recipe.compute_capability,
        config.shape or recipe.shape,
        recipe.workspace_mib,
    )


def _engine(ready: Path, plan: _Plan, progress: Progress) -> BuildReport | None:
    """For the cpu there is no engine: onnxruntime runs the ONNX."""
    if plan.config.target == "cpu":
        return None
    return build(ready, plan.stages / f"model.{plan.config.target}.engine", _build_config(plan), progress)


def _judged(source: _Source, ready: Path, plan: _Plan, progress: Progress) -> ValidateReport:
    recipe, config = plan.recipe.validate, plan.config
    asked = ValidateConfig(source.onnx, source.data, config.budget or recipe.budget, plan.recipe_name, recipe.samples)
    return validate(ready, plan.stages / "accuracy.json", asked, progress)


def _seen_before(plan: _Plan, source: _Source) -> str:
    """A model judged on the inputs that its scales come from looks better than it is."""
    same = plan.precision.startswith("int8") and plan.calibration_data == source.data
    return " (INT8 was calibrated on them too)" if same else ""


def _engine_clause(engine: BuildReport | None) -> str:
    """An engine that did not run is never passed off as one that did."""
    if engine is None:
        return ""
    built_for = ",".join("sm" + capability.replace(".", "") for capability in engine.compute_capabilities)
    why = "only onnxruntime judges yet" if find_gpus().gpus else "no GPU here"
    return f"; engine {engine.target} {built_for}: built, not run ({why})"


def _bundle(out: Path, plan: _Plan, stages: dict[str, Path], engine: BuildReport | None, verdict: str) -> None:
    """Put together what ships: the very ONNX that was judged, the engine, the reports, and what a frame becomes."""
    model = read_onnx(stages["quantize"])
    inputs, outputs = graph_inputs(model), graph_outputs(model)
    ranges = shape_ranges(inputs, _build_config(plan).shape, metadata(model, "ranges") or {})
    labels = tuple(metadata(model, "labels") or ())
    contents = Contents(copies={"model.onnx": stages["quantize"], "reports/accuracy.json": stages["validate"]})
    if plan.recipe.preprocess:
        contents.made["preprocess.json"] = json_bytes(to_table(plan.recipe.preprocess))
    if labels:
        contents.made["postprocess.json"] = json_bytes(to_table(Postprocess("classify", outputs[0].name, labels)))
    if engine:
        contents.copies[engine.path.name] = engine.path
        contents.copies["reports/build.json"] = Path(f"{engine.path}.json")
    manifest = Manifest(
        edgekit=__version__,
        verdict=verdict,
        model=ModelEntry(
            file="model.onnx",
            architecture=metadata(model, "architecture") or "",
            task=metadata(model, "task") or "",
            precision=plan.precision,
            optimization=OPTIMIZATION,
        ),
        preprocess="preprocess.json" if plan.recipe.preprocess else "",
        postprocess="postprocess.json" if labels else "",
        inputs=inputs,
        outputs=outputs,
        ranges=_dimension_ranges(inputs, ranges),
        engines=_engine_entries(engine),
        files={},
    )
    pack(out, manifest, contents)


def _engine_entries(engine: BuildReport | None) -> tuple[EngineEntry, ...]:
    if engine is None:
        return ()
    return (EngineEntry(engine.path.name, engine.flavour, engine.version, engine.compute_capabilities),)


def _dimension_ranges(inputs: tuple[TensorSpec, ...], ranges: tuple[ShapeRange, ...]) -> dict[str, tuple[int, ...]]:
    """(min, opt, max) by the name of an open axis; the same name on two inputs must mean the same sizes."""
    dims: dict[str, tuple[int, ...]] = {}
    for spec, shape in zip(inputs, ranges, strict=True):
        for axis, sizes in zip(spec.shape, zip(shape.min, shape.opt, shape.max, strict=True), strict=True):
            if isinstance(axis, str) and dims.setdefault(axis, sizes) != sizes:
                raise ShapeError(f"expected one range for the axis {axis}, found {dims[axis]} and {sizes}", "--shape")
    return dims
