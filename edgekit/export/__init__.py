"""torch -> ONNX, proved against torch at a second batch and a second length."""

from __future__ import annotations

import collections
import contextlib
from dataclasses import dataclass
from pathlib import Path

from edgekit.configs import ExportConfig
from edgekit.data import batch_axes, write_npz
from edgekit.errors import ExportError
from edgekit.export.divergence import first_divergence
from edgekit.export.metadata import add_metadata, dims
from edgekit.export.parity import Difference, ParityError, check_parity
from edgekit.export.source import load_network
from edgekit.export.subject import Subject, make_subject, parity_cases
from edgekit.export.translation import Translation, translate
from edgekit.files import check_apart, json_bytes, written_aside
from edgekit.models.network import Network
from edgekit.reports import Progress, StageReport, Stopwatch, no_progress, peak_rss_mib, report_file
from edgekit.rewrite.reading import graph_inputs

__all__ = ["ExportReport", "examples_file", "export"]

_STEPS = 3


@dataclass(frozen=True)
class ExportReport(StageReport):
    """What was exported and how far it is from torch."""

    model: str
    exporter: str
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
    _check_sources(model, out, config)
    with contextlib.ExitStack() as files:
        partial, told = (files.enter_context(written_aside(file)) for file in (out, report_file(out)))
        progress(f"loading {model}", 0, _STEPS)
        network = load_network(model, config.weights, config.set)
        subject = make_subject(network, config)
        progress("exporting", 1, _STEPS)
        made = translate(subject, config)
        add_metadata(made.proto, model, network, subject)
        serialized = made.proto.SerializeToString()
        progress("comparing with torch at a second batch and length", 2, _STEPS)
        differences = _compared(serialized, made, subject, config.tolerance)
        partial.write_bytes(serialized)
        if config.save_examples:
            examples = files.enter_context(written_aside(examples_file(out)))
            _save_examples(examples, subject, batch_axes(graph_inputs(made.proto)))
        report = ExportReport(
            path=out,
            seconds=watch.seconds(),
            peak_rss_mib=peak_rss_mib(),
            warnings=(*made.warnings, *_untrained(model, network), *_constants(subject.outputs, differences)),
            model=model,
            exporter=made.exporter,
            opset=made.opset,
            inputs={value.name: dims(value) for value in made.proto.graph.input},
            outputs=list(subject.outputs),
            ops=dict(collections.Counter(node.op_type for node in made.proto.graph.node).most_common()),
            bytes=len(serialized),
            parity=differences,
            examples_are=network.examples_are,
        )
        told.write_bytes(json_bytes(report.to_json()))
    progress("exported", _STEPS, _STEPS)
    return report


def examples_file(out: Path) -> Path:
    """Where `save_examples` puts the example inputs of an export to `out`."""
    return out.with_name(out.name + ".examples.npz")


def _check_sources(model: str, out: Path, config: ExportConfig) -> None:
    """Raise OutputError where a file that is read would be written over."""
    code, _, _ = model.rpartition(":")
    for source in (Path(code) if code else None, config.weights):
        for file in (out, report_file(out), examples_file(out)):
            if source is not None:
                check_apart(source, file)


def _compared(model: bytes, made: Translation, subject: Subject, tolerance: float) -> list[Difference]:
    """Parity at all cases; a failure names the first node that leaves torch's program."""
    try:
        return check_parity(model, subject.module, parity_cases(subject), subject.inputs, tolerance)
    except ParityError as error:
        feeds = dict(zip(subject.inputs, error.case.values(), strict=True))
        where = first_divergence(made.program, feeds, tolerance) if made.program else "the older exporter names no node"
        raise ExportError("; ".join(filter(None, (error.problem, where)))) from error


def _constants(outputs: tuple[str, ...], differences: list[Difference]) -> list[str]:
    return [
        f"output {name!r} is constant: parity proves nothing about it"
        for name in outputs
        if all(difference.constant for difference in differences if difference.output == name)
    ]


def _untrained(model: str, network: Network) -> list[str]:
    return [] if network.trained else [f"{model} has no --weights: its weights are seeded random numbers"]


def _save_examples(file: Path, subject: Subject, axes: dict[str, int]) -> None:
    """As evaluation data have it: samples along axis 0, also of a state that has its batch elsewhere."""
    examples = zip(subject.inputs, subject.examples.values(), strict=True)
    write_npz(file, {name: value.movedim(axes.get(name, 0), 0).numpy() for name, value in examples})
