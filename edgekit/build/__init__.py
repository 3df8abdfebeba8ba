"""ONNX -> TensorRT engine."""

from __future__ import annotations

import hashlib
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit.build.attention import for_importer, no_kernel
from edgekit.build.flavour import Flavour, load_flavour
from edgekit.build.watching import Layer, Watcher
from edgekit.configs import BuildConfig
from edgekit.device import find_gpus
from edgekit.errors import BuildError, first_line
from edgekit.files import check_apart, written_aside
from edgekit.judge import plain_session
from edgekit.reports import Progress, StageReport, Stopwatch, no_progress, peak_rss_mib
from edgekit.rewrite.reading import OnnxFile, graph_inputs, metadata, read_onnx_file
from edgekit.shapes import shape_ranges
from edgekit.specs import ShapeRange
from edgekit.targets import target

__all__ = ["BuildReport", "build", "check_buildable", "refusal"]

_MIB = 1 << 20


@dataclass(frozen=True)
class BuildReport(StageReport):
    """What was built, for whom, and the fused layers that it will run."""

    source: Path
    target: str
    flavour: str
    version: str
    compute_capabilities: tuple[str, ...]
    shapes: tuple[str, ...]
    bytes: int
    sha256: str
    layers: tuple[Layer, ...]


def build(
    source: Path, out: Path, config: BuildConfig = BuildConfig(), progress: Progress = no_progress
) -> BuildReport:
    """Build `source` for `config.target` and write the engine to `out`.

    For target `cpu` the engine is the ONNX itself, with external weights brought in: onnxruntime runs it. Raises
    ModelError, ShapeError, BuildError, TargetError (this machine cannot build for the target) or OutputError; then
    nothing is written.
    """
    watch = Stopwatch()
    kind = target(config.target)
    check_buildable(config)
    check_apart(source, out)
    with written_aside(out) as partial:
        found = read_onnx_file(source)
        ranges = shape_ranges(graph_inputs(found.model), config.shape, metadata(found.model, "ranges") or {})
        if kind.flavour == "ort":
            made = _built_for_cpu(source, found.serialized)
        else:
            made = _built_by_tensorrt(found, ranges, config, progress)
        partial.write_bytes(made.engine)
    report = BuildReport(
        path=out,
        seconds=watch.seconds(),
        peak_rss_mib=peak_rss_mib(),
        warnings=made.warnings,
        source=source,
        target=config.target,
        flavour=kind.flavour,
        version=made.version,
        compute_capabilities=made.compute_capabilities,
        shapes=tuple(map(str, ranges)),
        bytes=made.engine.nbytes,
        sha256=hashlib.sha256(made.engine).hexdigest(),
        layers=made.layers,
    )
    report.write()
    return report


def check_buildable(config: BuildConfig) -> None:
    """Raise TargetError unless this machine can build for `config.target`."""
    kind = target(config.target)
    kind.check_compute_capabilities(config.compute_capability)
    if kind.flavour != "ort":
        load_flavour(kind, config.compute_capability)


def refusal(found: OnnxFile, config: BuildConfig) -> str:
    """Why the parser of the TensorRT that builds for `config.target` refuses a model; empty where it takes it.

    Nothing is built, and the builder may refuse it still. `found.model` is consumed. Raises TargetError where this
    machine has no such TensorRT.
    """
    flavour = load_flavour(target(config.target), config.compute_capability)
    rewritten = for_importer(found.model, "" if flavour.imports_attention else "this TensorRT has no importer for it")
    model = rewritten.model.SerializeToString() if rewritten.modified else found.serialized
    watcher = Watcher(flavour.trt, no_progress)
    builder = _builder(flavour, watcher)
    # A name of its own: the parser does not keep its network alive.
    network = flavour.create_network(builder)
    try:
        _parse(flavour.trt.OnnxParser(network, watcher.logger), model)
    except BuildError as error:
        traceback.clear_frames(error.__traceback__)
        return error.problem
    return ""


@dataclass(frozen=True)
class _Built:
    engine: memoryview
    version: str
    compute_capabilities: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    warnings: tuple[str, ...] = ()


def _built_for_cpu(source: Path, engine: bytes) -> _Built:
    """Prove that onnxruntime loads the model; ORT_DISABLE_ALL, as FP16 and Q/DQ are judged."""
    import onnxruntime

    try:
        plain_session(engine)
    except Exception as error:
        raise BuildError(f"onnxruntime refuses {source}: {first_line(error)}") from error
    return _Built(memoryview(engine), onnxruntime.__version__)


def _built_by_tensorrt(
    found: OnnxFile, ranges: tuple[ShapeRange, ...], config: BuildConfig, progress: Progress
) -> _Built:
    """Build with the Attention nodes that the importer takes; where there is no kernel for one after all, without."""
    flavour = load_flavour(target(config.target), config.compute_capability)
    reason = "" if flavour.imports_attention else "this TensorRT has no importer for it"
    try:
        return _built_without(reason, flavour, found, ranges, config, progress)
    except BuildError as error:
        if not no_kernel(error):
            raise
    return _built_without("TensorRT found no kernel for one", flavour, found, ranges, config, progress)


def _built_without(
    attention_because: str,
    flavour: Flavour,
    found: OnnxFile,
    ranges: tuple[ShapeRange, ...],
    config: BuildConfig,
    progress: Progress,
) -> _Built:
    """Build without the Attention nodes that are refused, or without any where there is a reason.

    Let go of every TensorRT object before an error leaves: a traceback keeps the builder in its frames. TensorRT logs
    through Python while it holds a lock, and a garbage collection in there that ends an old builder waits for that same
    lock, forever.
    """
    rewritten = for_importer(found.model, attention_because)
    model = rewritten.model.SerializeToString() if rewritten.modified else found.serialized
    try:
        made = _built_with_builder(flavour, model, ranges, config, progress)
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise
    return replace(made, warnings=(*rewritten.notes, *made.warnings))


def _built_with_builder(
    flavour: Flavour, model: bytes, ranges: tuple[ShapeRange, ...], config: BuildConfig, progress: Progress
) -> _Built:
    trt = flavour.trt
    watcher = Watcher(trt, progress)
    builder = _builder(flavour, watcher)
    network = flavour.create_network(builder)
    _parse(trt.OnnxParser(network, watcher.logger), model)
    settings = builder.create_builder_config()
    # DETAILED makes the builder print the fused layers, the only way to see them without a GPU.
    settings.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    settings.progress_monitor = watcher.monitor
    flavour.set_compute_capabilities(settings, config.compute_capability)
    if config.workspace_mib is not None:
        settings.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, config.workspace_mib * _MIB)
    profile = builder.create_optimization_profile()
    for item in ranges:
        profile.set_shape(item.name, item.min, item.opt, item.max)
    if settings.add_optimization_profile(profile) < 0:
        raise BuildError(f"TensorRT refused the shapes {', '.join(map(str, ranges))}: {watcher.reason()}", "--shape")
    engine = builder.build_serialized_network(network, settings)
    if watcher.interrupted:
        raise KeyboardInterrupt
    if engine is None:
        raise BuildError(f"{flavour.name} {flavour.version} could not build the model: {watcher.reason()}")
    return _Built(
        engine=memoryview(engine),
        version=flavour.version,
        compute_capabilities=_built_for(config),
        layers=watcher.layers,
        warnings=tuple(dict.fromkeys(watcher.warnings)),
    )


def _built_for(config: BuildConfig) -> tuple[str, ...]:
    """The GPUs that the engine runs on: those asked for, RTX's default, or the one that TensorRT found."""
    kind = target(config.target)
    return config.compute_capability or kind.default_compute_capabilities or find_gpus().compute_capabilities


def _builder(flavour: Flavour, watcher: Watcher) -> Any:
    try:
        return flavour.trt.Builder(watcher.logger)
    except Exception as error:  # pybind11 reports a missing driver as a TypeError
        raise BuildError(f"{flavour.name} {flavour.version} could not start here: {watcher.reason()}") from error


def _parse(parser: Any, model: bytes) -> None:
    if parser.parse(model):
        return
    found = parser.get_error(0) if parser.num_errors else None
    if found is None:
        raise BuildError("TensorRT's ONNX parser refused the model and gave no reason")
    node = f"node {found.node_name()!r} ({found.node_operator()})" if found.node_operator() else "the model"
    raise BuildError(f"TensorRT's ONNX parser refused {node}: {' '.join(found.desc().split())[:300]}")
