"""The building itself: an ONNX model and its profiles go into TensorRT, an engine and what it says of it come out."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from edgekit.build.attention import for_importer, no_kernel
from edgekit.build.flavour import Flavour, load_flavour
from edgekit.build.layers import Layer, Memory, inspected_layers
from edgekit.build.plugins import Plugins, load_plugins, with_plugins
from edgekit.build.timing_cache import load_timing_cache, save_timing_cache
from edgekit.build.watching import Watcher
from edgekit.configs import BuildConfig
from edgekit.device import find_gpus
from edgekit.errors import BuildError
from edgekit.quiet import native_stderr_aside
from edgekit.reports import Progress
from edgekit.rewrite.bare import without_weights
from edgekit.rewrite.reading import OnnxFile
from edgekit.rewrite.recurrent_casts import part_casts
from edgekit.rewrite.remedies import blamed, remedy, remedy_for
from edgekit.shapes import Profile
from edgekit.targets import target

_MIB = 1 << 20
NO_IMPORTER = "this TensorRT has no importer for it"


@dataclass(frozen=True)
class Made:
    """An engine with what TensorRT said of it; `model` is what its parser was given, without the weights."""

    engine: memoryview
    version: str
    model: onnx.ModelProto | None = None
    compute_capabilities: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    memory: Memory = Memory()
    warnings: tuple[str, ...] = ()
    plugins: Path | None = None


@dataclass(frozen=True)
class _Job:
    flavour: Flavour
    profiles: tuple[Profile, ...]
    config: BuildConfig
    progress: Progress
    plugins: Plugins | None


def make_engine(
    found: OnnxFile,
    profiles: tuple[Profile, ...],
    config: BuildConfig,
    progress: Progress,
    plugins: Plugins | None = None,
) -> Made:
    """Build with the Attention nodes that the importer takes; where there is no kernel for one after all, without.

    `found.model` is consumed. Raises BuildError where TensorRT refuses the model, TargetError where this machine cannot
    build for the target.
    """
    flavour = load_flavour(target(config.target), config.compute_capability)
    job = _Job(flavour, profiles, config, progress, plugins)
    reason = "" if flavour.imports_attention else NO_IMPORTER
    try:
        return _without(reason, job, found)
    except BuildError as error:
        if not no_kernel(error):
            raise
    found.model = onnx.load_model_from_string(found.serialized)
    return _without("TensorRT found no kernel for one", job, found)


def _without(attention_because: str, job: _Job, found: OnnxFile) -> Made:
    """Build without the Attention nodes that are refused, or without any where there is a reason.

    Let go of every TensorRT object before an error leaves: a traceback keeps the builder in its frames. TensorRT logs
    through Python while it holds a lock, and a garbage collection in there that ends an old builder waits for that same
    lock, forever.
    """
    rewritten = for_importer(found.model, attention_because)
    # After it: what it takes apart is recognised as products, and its reasons need shapes that plugins hide.
    plugged = with_plugins(rewritten.model, job.profiles[0], job.plugins)
    modified = rewritten.modified or plugged.modified
    if job.flavour.is_rtx:  # measured there; the other flavours could not be tried
        least = [{item.name: item.min for item in profile} for profile in job.profiles]
        modified |= part_casts(plugged.model, least).modified
    serialized = plugged.model.SerializeToString() if modified else found.serialized
    library = job.plugins if plugged.modified else None
    load_plugins(job.flavour, library)
    notes = (*rewritten.notes, *plugged.notes)
    # From here on only the nodes are asked for; the weights are in `serialized`, and soon in TensorRT.
    found.model = without_weights(plugged.model)
    del rewritten, plugged
    try:
        with native_stderr_aside():
            made = _built(job, serialized, found.model)
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise
    path = library.path if library is not None else None
    return replace(made, model=found.model, plugins=path, warnings=(*notes, *made.warnings))


def _built(job: _Job, model: bytes, nodes: onnx.ModelProto) -> Made:
    flavour, config = job.flavour, job.config
    trt = flavour.trt
    watcher = Watcher(trt, job.progress)
    builder = make_builder(flavour, watcher)
    network = flavour.create_network(builder)
    _parse(trt.OnnxParser(network, watcher.logger), model)
    settings = builder.create_builder_config()
    # DETAILED makes the builder print the fused layers, the only way to see them without a GPU.
    settings.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    settings.progress_monitor = watcher.monitor
    flavour.set_compute_capabilities(settings, config.compute_capability)
    if config.workspace_mib is not None:
        settings.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, config.workspace_mib * _MIB)
    notes = load_timing_cache(flavour, settings, config.timing_cache)
    for profile in job.profiles:
        _add_profile(builder, settings, profile, watcher)
    engine = builder.build_serialized_network(network, settings)
    if watcher.interrupted:
        raise KeyboardInterrupt
    if engine is None:
        raise _unbuilt(flavour, watcher, nodes)
    save_timing_cache(flavour, settings, config.timing_cache)
    return Made(
        engine=memoryview(engine),
        version=flavour.version,
        compute_capabilities=_built_for(config),
        layers=watcher.layers or _inspected(flavour, engine, watcher),
        memory=watcher.memory,
        warnings=(*notes, *dict.fromkeys(watcher.warnings)),
    )


def _unbuilt(flavour: Flavour, watcher: Watcher, nodes: onnx.ModelProto) -> BuildError:
    """Why the builder gave up, with the node where it names one: it speaks of what it fused."""
    said = watcher.reason()
    node = blamed(nodes, said)
    what = f"node {node.name!r} ({node.op_type})" if node is not None else "the model"
    helps = remedy(node) if node is not None else "edgekit check with the same options says what each node becomes"
    return BuildError(f"{flavour.name} {flavour.version} could not build {what}: {said}", helps)


def _add_profile(builder: Any, settings: Any, profile: Profile, watcher: Watcher) -> None:
    made = builder.create_optimization_profile()
    for item in profile:
        made.set_shape(item.name, item.min, item.opt, item.max)
    if settings.add_optimization_profile(made) < 0:
        raise BuildError(f"TensorRT refused the shapes {', '.join(map(str, profile))}: {watcher.reason()}", "--shape")


def _built_for(config: BuildConfig) -> tuple[str, ...]:
    """The GPUs that the engine runs on: those asked for, RTX's default, or the one that TensorRT found."""
    kind = target(config.target)
    return config.compute_capability or kind.default_compute_capabilities or find_gpus().compute_capabilities


def _inspected(flavour: Flavour, engine: Any, watcher: Watcher) -> tuple[Layer, ...]:
    """Ask the engine itself, as standard TensorRT can where it builds: on a GPU. None where it does not tell."""
    if flavour.is_rtx:
        return ()
    runtime = flavour.trt.Runtime(watcher.logger)
    loaded = runtime.deserialize_cuda_engine(engine)
    if loaded is None:
        return ()
    inspector = loaded.create_engine_inspector()
    return inspected_layers(inspector.get_engine_information(flavour.trt.LayerInformationFormat.JSON))


def make_builder(flavour: Flavour, watcher: Watcher) -> Any:
    """TensorRT's builder, which logs to `watcher`; BuildError where it does not start, as without a driver."""
    try:
        return flavour.trt.Builder(watcher.logger)
    except Exception as error:  # pybind11 reports a missing driver as a TypeError
        raise BuildError(f"{flavour.name} {flavour.version} could not start here: {watcher.reason()}") from error


def _parse(parser: Any, model: bytes) -> None:
    if parser.parse(model):
        return
    found = parser.get_error(0) if parser.num_errors else None
    if found is None:
        raise BuildError("TensorRT's ONNX parser refused the model and gave no reason", "edgekit check")
    op_type = found.node_operator()
    node = f"node {found.node_name()!r} ({op_type})" if op_type else "the model"
    raise BuildError(
        f"TensorRT's ONNX parser refused {node}: {' '.join(found.desc().split())[:300]}", remedy_for(op_type)
    )
