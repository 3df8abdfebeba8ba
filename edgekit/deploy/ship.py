"""The bundle's contents: the very ONNX that was judged, the engine, the reports, what a frame becomes and means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekit import __version__
from edgekit.build import BuildReport
from edgekit.bundle import GOLDEN, Contents, EngineEntry, Manifest, ModelEntry, pack
from edgekit.deploy.described import Described
from edgekit.deploy.golden import golden
from edgekit.deploy.plan import Plan
from edgekit.errors import OutputError, ShapeError
from edgekit.files import sha256_of
from edgekit.judge import OPTIMIZATION
from edgekit.rewrite.reading import graph_inputs, graph_outputs, metadata, read_onnx
from edgekit.shapes import shape_ranges
from edgekit.specs import ShapeRange, TensorSpec
from edgekit.validate.subject import ACCURACY


@dataclass(frozen=True)
class Judged:
    """What the stages came to: their files by stage, the engine if there is one, the verdict."""

    stages: dict[str, Path]
    engine: BuildReport | None
    verdict: str


def ship(out: Path, plan: Plan, judged: Judged) -> None:
    """Write the bundle to the folder `out`, whole or not at all."""
    stages, engine = judged.stages, judged.engine
    model = read_onnx(stages["quantize"])
    inputs, outputs = graph_inputs(model), graph_outputs(model)
    ranges = shape_ranges(inputs, plan.build_config().shape, metadata(model, "ranges") or {})
    contents = Contents(copies={"model.onnx": stages["quantize"], ACCURACY: stages["validate"]})
    described = Described.of(plan.recipe, model)
    described.put_into(contents)
    sizes = _dimension_ranges(inputs, ranges)
    opt = {name: size[1] for name, size in sizes.items()}
    known = golden(
        stages["quantize"], plan.validate_config(Path(), plan.data or ""), opt, embed=plan.config.embed_samples
    )
    if known is not None:
        contents.copies[GOLDEN] = stages["quantize"].with_name(GOLDEN)
        known.save(contents.copies[GOLDEN])
    if engine:
        contents.copies[engine.path.name] = engine.path
        contents.copies["reports/build.json"] = Path(f"{engine.path}.json")
        if engine.plugins is not None:
            contents.copies[_plugins_file(engine)] = engine.plugins
    manifest = Manifest(
        edgekit=__version__,
        verdict=judged.verdict,
        model=ModelEntry(
            file="model.onnx",
            architecture=metadata(model, "architecture") or "",
            task=metadata(model, "task") or "",
            precision=plan.precision,
            optimization=OPTIMIZATION,
        ),
        **described.names(),
        assets=tuple(sorted(described.assets)),
        inputs=inputs,
        outputs=outputs,
        ranges=sizes,
        engines=_engine_entries(engine),
        files={},
    )
    pack(out, manifest, contents)


def _engine_entries(engine: BuildReport | None) -> tuple[EngineEntry, ...]:
    if engine is None:
        return ()
    capabilities = engine.compute_capabilities
    return (EngineEntry(engine.path.name, engine.flavour, engine.version, capabilities, _plugins_file(engine)),)


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
