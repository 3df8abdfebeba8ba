"""ONNX -> TensorRT engine, with the account of what was built."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.build.asking import Refusal, refused_nodes
from edgekit.build.engine import Made, make_engine
from edgekit.build.flavour import load_flavour, minimum_cuda
from edgekit.build.layers import Layer, Memory
from edgekit.build.memory import check_memory
from edgekit.build.plugins import (
    attention_candidates,
    coverage_of,
    find_plugins,
    is_half,
    plugin_creators,
    why_not_attention,
    would_help,
)
from edgekit.build.proof import (
    Accounts,
    AttentionCount,
    Compute,
    account,
    check_required,
    layer_of_nodes,
    parse_required,
)
from edgekit.configs import BuildConfig
from edgekit.device import this_host
from edgekit.errors import BuildError, TargetError, first_line
from edgekit.files import check_apart, json_bytes, sha256_of, written_aside
from edgekit.judge import plain_session
from edgekit.reports import Progress, StageReport, Stopwatch, no_progress, peak_rss_mib, report_file
from edgekit.rewrite.foreign import standard
from edgekit.rewrite.reading import OnnxFile, graph_inputs, metadata, read_onnx_file
from edgekit.shapes import Profile, profiles
from edgekit.targets import device, target

__all__ = [
    "Accounts",
    "BuildReport",
    "Layer",
    "Refusal",
    "account",
    "attention_candidates",
    "build",
    "check_buildable",
    "check_required",
    "check_requirements",
    "coverage_of",
    "for_target",
    "is_half",
    "layer_of_nodes",
    "model_profiles",
    "read_for",
    "refused_nodes",
    "resolved",
    "trial",
    "why_not_attention",
]


@dataclass(frozen=True)
class BuildReport(StageReport):
    """What was built, for whom, and the fused layers that it will run.

    `shapes` has one text an input and profile, `name:min:opt:max`, the profiles one after the other. `plugins` is the
    library that the engine needs, None where it needs none, `plugin_creators` what it asks for there, each as "name
    version namespace". `source_sha256` is that of the ONNX file. An engine runs on this `os` and `architecture` alone,
    with a driver that serves `minimum_cuda`.
    """

    source: Path
    target: str
    flavour: str
    version: str
    compute_capabilities: tuple[str, ...]
    shapes: tuple[str, ...]
    bytes: int
    sha256: str
    layers: tuple[Layer, ...]
    memory: Memory
    compute: Compute
    attention: AttentionCount
    plugins: Path | None = None
    plugins_sha256: str = ""
    plugin_creators: tuple[str, ...] = ()
    os: str = ""
    architecture: str = ""
    minimum_cuda: str = ""
    source_sha256: str = ""


def build(
    source: Path, out: Path, config: BuildConfig = BuildConfig(), progress: Progress = no_progress
) -> BuildReport:
    """Build `source` for `config.target` and write the engine to `out`.

    For target `cpu` the engine is the ONNX itself, with external weights brought in: onnxruntime runs it. Raises
    ModelError, ShapeError, BuildError (refused, or not in the precision that `config.require_precision` asks for),
    TargetError (this machine cannot build for the target) or OutputError; then nothing is written.
    """
    watch = Stopwatch()
    config = resolved(config)
    check_buildable(config)
    check_apart(source, out)
    with written_aside(out) as partial, written_aside(report_file(out)) as told:
        found, notes = read_for(source, config)
        asked = model_profiles(found, config)
        made, accounts = _made(source, found, asked, config, progress)
        made = replace(made, warnings=(*notes, *made.warnings))
        check_required(config.require_precision, accounts)
        partial.write_bytes(made.engine)
        report = BuildReport(
            path=out,
            seconds=watch.seconds(),
            peak_rss_mib=peak_rss_mib(),
            warnings=made.warnings,
            source=source,
            target=config.target,
            flavour=target(config.target).flavour,
            version=made.version,
            compute_capabilities=made.compute_capabilities,
            shapes=tuple(str(item) for profile in asked for item in profile),
            bytes=made.engine.nbytes,
            sha256=hashlib.sha256(made.engine).hexdigest(),
            layers=accounts.layers,
            memory=made.memory,
            compute=accounts.compute,
            attention=accounts.attention,
            plugins=made.plugins,
            plugins_sha256=sha256_of(made.plugins) if made.plugins is not None else "",
            plugin_creators=plugin_creators(made.model) if made.model and made.plugins else (),
            source_sha256=sha256_of(source),
            **_bound_to(config),
        )
        told.write_bytes(json_bytes(report.to_json()))
    return report


def read_for(source: Path, config: BuildConfig) -> tuple[OnnxFile, tuple[str, ...]]:
    """Read a model in the form that TensorRT takes, with notes on what was changed; for onnxruntime as it is.

    Raises ModelError, and BuildError for what no TensorRT takes.
    """
    return for_target(read_onnx_file(source), config)


def for_target(found: OnnxFile, config: BuildConfig) -> tuple[OnnxFile, tuple[str, ...]]:
    """What was read in the form that TensorRT takes, with notes; `found.model` is consumed. Raises as `read_for`."""
    if target(config.target).flavour == "ort":
        return found, ()
    done = standard(found.model)
    serialized = done.model.SerializeToString() if done.modified else found.serialized
    return OnnxFile(done.model, serialized), done.notes


def check_buildable(config: BuildConfig) -> None:
    """Raise TargetError unless this machine can build for `config.target`, and what `check_requirements` raises."""
    check_requirements(config)
    kind = target(config.target)
    if kind.flavour != "ort":
        load_flavour(kind, config.compute_capability)


def check_requirements(config: BuildConfig) -> None:
    """Raise TargetError for a compute capability that the target has not, UsageError for a malformed requirement."""
    target(config.target).check_compute_capabilities(config.compute_capability)
    for text in config.require_precision:
        parse_required(text)


def resolved(config: BuildConfig) -> BuildConfig:
    """With the compute capability of `config.device`, where the target builds for named ones and none was given.

    Raises TargetError for a device that is none of the target's, or not of a compute capability that was given.
    """
    config = replace(config, compute_capability=tuple(dict.fromkeys(config.compute_capability)))
    if not config.device:
        return config
    kind, board = target(config.target), device(config.device)
    board.check_target(kind)
    if config.compute_capability and board.compute_capability not in config.compute_capability:
        raise TargetError(
            f"expected a compute capability of {board.name}, {board.compute_capability}, "
            f"found {', '.join(config.compute_capability)}",
            "leave --compute-capability out",
        )
    if kind.flavour != "tensorrt_rtx" or config.compute_capability:
        return config
    return replace(config, compute_capability=(board.compute_capability,))


def trial(
    source: Path, found: OnnxFile, config: BuildConfig, progress: Progress = no_progress
) -> tuple[Made, Accounts]:
    """Build as `build` does, and write nothing: what TensorRT takes is asked of TensorRT. `found.model` is consumed.

    Raises what `build` raises, but for what `config.require_precision` asks: see `check_required`.
    """
    check_buildable(config)
    return _made(source, found, model_profiles(found, config), config, progress)


def model_profiles(found: OnnxFile, config: BuildConfig) -> tuple[Profile, ...]:
    """The shapes that an engine of this model takes, a range an input and profile. Raises ShapeError, ModelError."""
    return profiles(graph_inputs(found.model), config.shape, metadata(found.model, "ranges") or {})


def _bound_to(config: BuildConfig) -> dict[str, str]:
    """Where an engine runs besides its GPUs; onnxruntime's is for any machine."""
    kind = target(config.target)
    if kind.flavour == "ort":
        return {}
    host = this_host()
    return {"os": host.os, "architecture": host.architecture, "minimum_cuda": minimum_cuda(kind)}


def _made(
    source: Path, found: OnnxFile, asked: tuple[Profile, ...], config: BuildConfig, progress: Progress
) -> tuple[Made, Accounts]:
    if target(config.target).flavour == "ort":
        made = _made_for_cpu(source, found)
    else:
        notes = check_memory(len(found.serialized))
        plugins, unused = find_plugins(config)
        unused = unused if unused and would_help(found.model) else ()
        made = make_engine(found, asked, config, progress, plugins)
        made = replace(made, warnings=(*notes, *unused, *made.warnings))
    return made, account(made.model or found.model, asked[0], made.layers)


def _made_for_cpu(source: Path, found: OnnxFile) -> Made:
    """Prove that onnxruntime loads the model; ORT_DISABLE_ALL, as FP16 and Q/DQ are judged."""
    import onnxruntime

    try:
        plain_session(found.serialized)
    except Exception as error:
        raise BuildError(
            f"onnxruntime refuses {source}: {first_line(error)}", "write it in operators that onnxruntime has"
        ) from error
    return Made(memoryview(found.serialized), onnxruntime.__version__)
