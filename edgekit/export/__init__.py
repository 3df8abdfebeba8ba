"""torch -> ONNX, proved against torch at a second batch and a second length."""

from __future__ import annotations

import collections
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch

from edgekit.configs import ExportConfig
from edgekit.data import write_npz
from edgekit.errors import ExportError
from edgekit.export.axes import Axes, at_least_two, dynamic_axes, parse_dynamic, resized
from edgekit.export.dynamo import axes_found_fixed, export_dynamo, output_names
from edgekit.export.parity import Difference, check_parity
from edgekit.export.source import load_network
from edgekit.files import written_aside
from edgekit.models import ARCHITECTURES
from edgekit.models.network import Network
from edgekit.reports import Progress, StageReport, Stopwatch, no_progress, peak_rss_mib

__all__ = ["ExportReport", "examples_file", "export"]

_STEPS = 3


@dataclass(frozen=True)
class ExportReport(StageReport):
    """What was exported and how far it is from torch."""

    model: str
    opset: int
    inputs: dict[str, list[int | str]]
    outputs: list[str]
    ops: dict[str, int]
    bytes: int
    parity: list[Difference]
    examples_are: str


def export(
    model: str, out: Path, config: ExportConfig = ExportConfig(), progress: Progress = no_progress
) -> ExportReport:
    """Export `model` (an architecture, `module:callable` or `path/file.py:callable`) to the ONNX file `out`.

    The file carries edgekit's metadata: architecture, task, labels, and the range of every open axis. Raises
    ModelError, UsageError, ExportError or OutputError; then nothing is written.
    """
    watch = Stopwatch()
    with written_aside(out) as partial:
        progress(f"loading {model}", 0, _STEPS)
        network = load_network(model, config.weights, config.set)
        axes = dynamic_axes(network.examples, config.dynamic, network.axes)
        examples = at_least_two(network.examples, axes)
        inputs = network.inputs or tuple(examples)
        with torch.no_grad():
            outputs = output_names(network.outputs, _call(network.module, examples), inputs)
        progress("exporting", 1, _STEPS)
        proto, fixed = _export_open(network.module, examples, axes, (inputs, outputs), config)
        _check_opset(proto, config.opset)
        warnings = [*fixed, *_untrained(model, network)]
        _add_metadata(proto, model, network, examples, axes)
        serialized = proto.SerializeToString()
        progress("comparing with torch at a second batch and length", 2, _STEPS)
        differences = check_parity(serialized, network.module, _cases(examples, axes), inputs, config.tolerance)
        warnings += _constants(outputs, differences)
        partial.write_bytes(serialized)
    if config.save_examples:
        _save_examples(out, dict(zip(inputs, examples.values(), strict=True)))
    progress("exported", _STEPS, _STEPS)
    report = ExportReport(
        path=out,
        seconds=watch.seconds(),
        peak_rss_mib=peak_rss_mib(),
        warnings=tuple(warnings),
        model=model,
        opset=config.opset,
        inputs={value.name: _dims(value) for value in proto.graph.input},
        outputs=list(outputs),
        ops=dict(collections.Counter(node.op_type for node in proto.graph.node).most_common()),
        bytes=len(serialized),
        parity=differences,
        examples_are=network.examples_are,
    )
    report.write()
    return report


def examples_file(out: Path) -> Path:
    """Where `save_examples` puts the example inputs of an export to `out`."""
    return out.with_name(out.name + ".examples.npz")


def _call(module: torch.nn.Module, examples: dict[str, torch.Tensor]) -> object:
    try:
        return module(**examples)
    except Exception as error:
        shapes = {name: list(value.shape) for name, value in examples.items()}
        raise ExportError(
            f"expected {type(module).__name__}.forward to accept the example inputs {shapes}, "
            f"found {type(error).__name__}: {str(error)[:300]}"
        ) from error


def _cases(examples: dict[str, torch.Tensor], axes: Axes) -> list[dict[str, torch.Tensor]]:
    """The examples, and inputs at sizes that the exporter did not see: one more in the batch, three more in time."""
    sizes = _sizes(examples, axes)
    larger = {dim: size + (1 if dim == "batch" else 3) for dim, size in sizes.items()}
    single = {dim: 1 if dim == "batch" else size for dim, size in sizes.items()}
    return [examples, resized(examples, axes, larger), resized(examples, axes, single)]


def _sizes(examples: dict[str, torch.Tensor], axes: Axes) -> dict[str, int]:
    return {dim: examples[name].shape[axis] for name, dims in axes.items() for axis, dim in dims.items()}


def _export_open(
    module: torch.nn.Module,
    examples: dict[str, torch.Tensor],
    axes: Axes,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    config: ExportConfig,
) -> tuple[Any, list[str]]:
    """Export with the axes open; a time axis that the module itself fixes is closed (in `axes` too) and told of.

    Only the time axis is a guess of ours: a batch or an asked axis that does not stay open is an ExportError.
    """
    guessed = {(name, 1) for name, dims in axes.items() if dims.get(1, "").endswith("time")}
    guessed -= {(name, axis) for name, axis, _ in map(parse_dynamic, config.dynamic)}
    warnings = []
    while True:
        try:
            proto = export_dynamo(module, examples, axes, names, config.opset)
        except ExportError as error:
            fixed = axes_found_fixed(error) & guessed
            if not fixed:
                raise
            for name, axis in sorted(fixed):
                del axes[name][axis]
                warnings.append(f"axis {axis} of input {name!r} is fixed at {examples[name].shape[axis]} by the module")
            guessed -= fixed
        else:
            _check_open(proto, names[0], axes)
            return proto, warnings


def _constants(outputs: tuple[str, ...], differences: list[Difference]) -> list[str]:
    return [
        f"output {name!r} is constant: parity proves nothing about it"
        for name in outputs
        if all(difference.constant for difference in differences if difference.output == name)
    ]


def _check_opset(proto: onnx.ModelProto, asked: int) -> None:
    """torch writes its own opset where it cannot write, or its converter cannot reach, the one that was asked for."""
    written = next(entry.version for entry in proto.opset_import if entry.domain == "")
    if written != asked:
        raise ExportError(f"expected ONNX opset {asked}, found that torch wrote {written}", f"--opset {written}")


def _check_open(proto: onnx.ModelProto, inputs: tuple[str, ...], axes: Axes) -> None:
    by_name = {value.name: value for value in proto.graph.input}
    for onnx_name, dims in zip(inputs, axes.values(), strict=True):
        for axis in dims:
            size = _dims(by_name[onnx_name])[axis]
            if not isinstance(size, str):
                raise ExportError(f"expected axis {axis} of input {onnx_name!r} to stay open, found it fixed at {size}")


def _untrained(model: str, network: Network) -> list[str]:
    return [] if network.trained else [f"{model} has no --weights: its weights are seeded random numbers"]


def _add_metadata(
    proto: onnx.ModelProto, model: str, network: Network, examples: dict[str, torch.Tensor], axes: Axes
) -> None:
    """Batches run from 1 to 8, other open axes to four times the example, tuned for the example's own size."""
    sizes = _sizes(examples, axes)
    ranges = {dim: [1, 1, 8] if dim == "batch" else [1, size, 4 * size] for dim, size in sizes.items()}
    ranges |= {dim: list(network.ranges[dim]) for dim in sizes if dim in network.ranges}
    metadata = {"edgekit.ranges": json.dumps(ranges)}
    if model in ARCHITECTURES:
        metadata |= {"edgekit.architecture": model, "edgekit.task": ARCHITECTURES[model].task}
    if network.labels:
        metadata["edgekit.labels"] = json.dumps(network.labels)
    onnx.helper.set_model_props(proto, metadata)


def _save_examples(out: Path, examples: dict[str, torch.Tensor]) -> None:
    with written_aside(examples_file(out)) as partial:
        write_npz(partial, {name: value.numpy() for name, value in examples.items()})


def _dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
