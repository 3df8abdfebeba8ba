"""The bundle's contents: the very ONNX that was judged, the engine, the reports, what a frame becomes and means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit import __version__
from edgekit.budget import Finding, budget_text
from edgekit.build import BuildReport
from edgekit.bundle import GOLDEN, Contents, EngineEntry, Manifest, ModelEntry, pack
from edgekit.deploy.described import Described
from edgekit.deploy.golden import golden
from edgekit.deploy.origin import family_of, quantization_entry, tools
from edgekit.deploy.plan import Plan
from edgekit.errors import OutputError, ShapeError
from edgekit.files import sha256_of
from edgekit.judge import OPTIMIZATION
from edgekit.quantize import QuantizeReport
from edgekit.reports import report_file
from edgekit.rewrite.reading import graph_inputs, graph_outputs, metadata, read_onnx
from edgekit.shapes import shape_ranges
from edgekit.specs import ShapeRange, TensorSpec

_ACCURACY, _BUILD = "reports/accuracy.json", "reports/build.json"


@dataclass(frozen=True)
class Judged:
    """What the stages came to: their files by stage, their reports where they ran, the verdict and what it is about.

    `exported` says whether the source was a module, of which torch made the ONNX.
    """

    stages: dict[str, Path]
    quantized: QuantizeReport | None
    engine: BuildReport | None
    verdict: str
    findings: tuple[Finding, ...]
    exported: bool


def ship(out: Path, plan: Plan, judged: Judged) -> None:
    """Write the bundle to the folder `out`, whole or not at all."""
    stages, engine = judged.stages, judged.engine
    model = read_onnx(stages["quantize"])
    inputs = graph_inputs(model)
    sizes = _dimension_ranges(inputs, shape_ranges(inputs, plan.build_config().shape, metadata(model, "ranges") or {}))
    contents = Contents(copies={"model.onnx": stages["quantize"], _ACCURACY: stages["validate"]})
    described = Described.of(plan.recipe, model)
    described.put_into(contents)
    opt = {name: size[1] for name, size in sizes.items()}
    known = golden(
        stages["quantize"], plan.validate_config(Path(), plan.data or ""), opt, embed=plan.config.embed_samples
    )
    if known is not None:
        contents.copies[GOLDEN] = stages["quantize"].with_name(GOLDEN)
        known.save(contents.copies[GOLDEN])
    engines: tuple[EngineEntry, ...] = ()
    if engine:
        plugins = _plugins_file(engine)
        engines = (EngineEntry.of(engine, engine.path.name, plugins),)
        contents.copies.update({engine.path.name: engine.path, _BUILD: report_file(engine.path)})
        if engine.plugins is not None:
            contents.copies[plugins] = engine.plugins
    manifest = Manifest(
        edgekit=__version__,
        verdict=judged.verdict,
        model=_model_entry(model, plan, stages["export"]),
        **described.names(),
        assets=tuple(sorted(described.assets)),
        inputs=inputs,
        outputs=graph_outputs(model),
        ranges=sizes,
        engines=engines,
        files={},
        quantization=quantization_entry(judged.quantized, model),
        budget=budget_text(finding.limit for finding in judged.findings),
        fps=plan.fps or 0.0,
        reports=tuple(name for name in (_ACCURACY, _BUILD) if name in contents.copies),
        tools=tools(judged.exported),
    )
    pack(out, manifest, contents)


def _model_entry(model: Any, plan: Plan, source: Path) -> ModelEntry:
    architecture = metadata(model, "architecture") or ""
    return ModelEntry(
        file="model.onnx",
        architecture=architecture,
        task=metadata(model, "task") or "",
        precision=plan.precision,
        optimization=OPTIMIZATION,
        family=family_of(architecture),
        source_sha256=sha256_of(source),
    )


def _plugins_file(engine: BuildReport) -> str:
    """What the library of the engine's plugins is called in the bundle; OutputError where it was changed since."""
    if engine.plugins is None:
        return ""
    if sha256_of(engine.plugins) != engine.plugins_sha256:
        raise OutputError(
            f"expected the plugins that the engine was built with in {engine.plugins}, found others", "the same again"
        )
    return f"plugins/{engine.plugins.name}"


def _dimension_ranges(inputs: tuple[TensorSpec, ...], ranges: tuple[ShapeRange, ...]) -> dict[str, tuple[int, ...]]:
    """(min, opt, max) by the name of an open axis; the same name on two inputs must mean the same sizes."""
    dims: dict[str, tuple[int, ...]] = {}
    for spec, shape in zip(inputs, ranges, strict=True):
        for axis, sizes in zip(spec.shape, zip(shape.min, shape.opt, shape.max, strict=True), strict=True):
            if isinstance(axis, str) and dims.setdefault(axis, sizes) != sizes:
                raise ShapeError(f"expected one range for the axis {axis}, found {dims[axis]} and {sizes}", "--shape")
    return dims
