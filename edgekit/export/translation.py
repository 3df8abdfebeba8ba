"""The module as ONNX, by torch's exporter; or by its older one, where the user allows that and the first fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx

from edgekit.configs import ExportConfig
from edgekit.errors import ExportError
from edgekit.export.attention import choose_opset
from edgekit.export.axes import parse_dynamic
from edgekit.export.dynamo import axes_found_fixed, export_dynamo
from edgekit.export.legacy import export_legacy
from edgekit.export.metadata import dims
from edgekit.export.subject import Subject


@dataclass(frozen=True)
class Translation:
    """`program` is the torch.onnx.ONNXProgram; the older exporter has none."""

    proto: onnx.ModelProto
    opset: int
    exporter: str
    program: Any
    warnings: tuple[str, ...]


def translate(subject: Subject, config: ExportConfig) -> Translation:
    """Export with the axes open; a time axis that the module itself fixes is closed (in the axes too) and told of.

    Raises ExportError when both ways fail, an axis does not stay open, or the opset is not the one that was asked for.
    """
    opset = choose_opset(config, subject.attention)
    try:
        program, warnings = _by_dynamo(subject, config, opset)
        made = Translation(program.model_proto, opset, "dynamo", program, tuple(warnings))
    except ExportError as error:
        if not config.allow_legacy:
            raise
        # The older exporter knows none of the newer opsets.
        opset = min(opset, 20)
        proto = export_legacy(subject.module, subject.examples, subject.axes, subject.names, opset)
        made = Translation(proto, opset, "legacy", None, (f"exported by torch's older exporter: {error.problem}",))
    _check_opset(made.proto, opset)
    _check_open(made.proto, subject)
    return made


def _by_dynamo(subject: Subject, config: ExportConfig, opset: int) -> tuple[Any, list[str]]:
    """Only the time axis is a guess of ours: a batch or an asked axis that does not stay open is an ExportError."""
    guessed = {(name, 1) for name, dims in subject.axes.items() if dims.get(1, "").endswith("time")}
    guessed -= {(name, axis) for name, axis, _ in map(parse_dynamic, config.dynamic)}
    warnings: list[str] = []
    while True:
        try:
            return export_dynamo(subject.module, subject.examples, subject.axes, subject.names, opset), warnings
        except ExportError as error:
            fixed = axes_found_fixed(error) & guessed
            if not fixed:
                raise
            for name, axis in sorted(fixed):
                del subject.axes[name][axis]
                size = subject.examples[name].shape[axis]
                warnings.append(f"axis {axis} of input {name!r} is fixed at {size} by the module")
            guessed -= fixed


def _check_opset(proto: onnx.ModelProto, asked: int) -> None:
    """torch writes its own opset where it cannot write, or its converter cannot reach, the one that was asked for."""
    written = next(entry.version for entry in proto.opset_import if entry.domain == "")
    if written != asked:
        raise ExportError(f"expected ONNX opset {asked}, found that torch wrote {written}", f"--opset {written}")


def _check_open(proto: onnx.ModelProto, subject: Subject) -> None:
    by_name = {value.name: value for value in proto.graph.input}
    for onnx_name, open_axes in zip(subject.inputs, subject.axes.values(), strict=True):
        for axis in open_axes:
            size = dims(by_name[onnx_name])[axis]
            if not isinstance(size, str):
                raise ExportError(f"expected axis {axis} of input {onnx_name!r} to stay open, found it fixed at {size}")
