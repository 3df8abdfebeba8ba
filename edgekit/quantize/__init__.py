"""ONNX -> ONNX at another precision: FP16 by casts, INT8 by explicit Q/DQ calibrated on real data."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgekit.configs import QuantizeConfig
from edgekit.errors import QuantizeError, first_line, nearest
from edgekit.files import check_apart, json_bytes, written_aside
from edgekit.quantize import recurrent
from edgekit.quantize.calibration import ScaleTable, calibrate
from edgekit.quantize.int8 import Form, insert_qdq
from edgekit.quantize.placement import layer_weights, quantizable_layers
from edgekit.quantize.precision import to_fp16
from edgekit.quantize.scales import LARGEST_HALF
from edgekit.reports import Progress, StageReport, Stopwatch, no_progress, peak_rss_mib, plain, report_file
from edgekit.rewrite.constants import constants_to_initializers
from edgekit.rewrite.fold import fold
from edgekit.rewrite.opset import raise_opset
from edgekit.rewrite.reading import read_onnx_file

__all__ = ["QuantizeReport", "quantize", "scales_file"]

# QuantizeLinear has a scale a channel from opset 13, and FP16 scales from opset 19.
_OPSETS = {"int8": 13, "int8+fp16": 19}


@dataclass(frozen=True)
class QuantizeReport(StageReport):
    """What the model weighs before and after; `weights` counts bytes by dtype, `left` says what stayed as it was."""

    precision: str
    source: Path
    bytes_before: int
    bytes_after: int
    weights: dict[str, int]
    kept_ops: dict[str, int]
    quantized_layers: int
    left: tuple[str, ...]
    calibrated_on: str
    calibration_sha256: str


@dataclass(frozen=True)
class _Made:
    model: onnx.ModelProto
    notes: tuple[str, ...] = ()
    layers: int = 0
    left: tuple[str, ...] = ()
    table: ScaleTable | None = None


def quantize(
    source: Path, out: Path, config: QuantizeConfig = QuantizeConfig(), progress: Progress = no_progress
) -> QuantizeReport:
    """Write `source` (any ONNX file) at `config.precision` to `out`; INT8 also writes `<out>.scales.json`.

    Raises ModelError, DataError, UsageError (INT8 without data), QuantizeError or OutputError; then nothing is
    written. The numbers are judged by `edgekit.validate`, not here.
    """
    watch = Stopwatch()
    check_apart(source, out)
    files = [out, report_file(out), *([scales_file(out)] if config.precision != "fp16" else [])]
    with contextlib.ExitStack() as aside:
        model_aside, report_aside, *table_aside = [aside.enter_context(written_aside(file)) for file in files]
        progress(f"reading {source.name}", 0, 0)
        made = _made(source, config, progress)
        progress(f"writing {out.name}", 0, 0)
        serialized = _checked(made.model)
        model_aside.write_bytes(serialized)
        for file in table_aside:
            file.write_bytes(json_bytes(plain(made.table)))
        report = QuantizeReport(
            path=out,
            seconds=watch.seconds(),
            peak_rss_mib=peak_rss_mib(),
            warnings=made.notes,
            precision=config.precision,
            source=source,
            bytes_before=source.stat().st_size,
            bytes_after=len(serialized),
            weights=_bytes_by_type(made.model),
            kept_ops={op: sum(node.op_type == op for node in made.model.graph.node) for op in config.keep_ops},
            quantized_layers=made.layers,
            left=made.left,
            calibrated_on=made.table.data if made.table else "",
            calibration_sha256=made.table.data_sha256 if made.table else "",
        )
        report_aside.write_bytes(json_bytes(report.to_json()))
    return report


def _made(source: Path, config: QuantizeConfig, progress: Progress) -> _Made:
    found = read_onnx_file(source)
    _check_kept(found.model, source, config)
    if config.precision == "fp16":
        half = to_fp16(found.model, config.keep_ops)
        return _Made(half.model, half.notes)
    return _int8(found.model, hashlib.sha256(found.serialized).hexdigest(), config, progress)


def scales_file(out: Path) -> Path:
    """Where the scale table of an INT8 model stands."""
    return out.with_name(out.name + ".scales.json")


def _checked(model: onnx.ModelProto) -> bytes:
    """What a converter broke must not leave as a success."""
    serialized = model.SerializeToString()
    try:
        onnx.checker.check_model(serialized)
    except onnx.checker.ValidationError as error:
        raise QuantizeError(f"the quantized model is not valid ONNX: {first_line(error)}") from error
    return serialized


def _check_kept(model: onnx.ModelProto, source: Path, config: QuantizeConfig) -> None:
    present = {node.op_type for node in model.graph.node}
    for op_type in config.keep_ops:
        if op_type not in present:
            raise QuantizeError(f"--keep-ops {op_type}: no such operator in {source}; {nearest(op_type, present)}")


def _int8(model: onnx.ModelProto, digest: str, config: QuantizeConfig, progress: Progress) -> _Made:
    """Calibrate on the float model, so that ranges are those of true activations; then rewrite.

    Recurrent weights come last: the cast to FP16 leaves recurrent nodes alone, and would step between them and their
    dequantized weights.
    """
    keep = config.keep_ops
    opset = max(_OPSETS[config.precision], recurrent.OPSET if recurrent.has_recurrent(model, keep) else 0)
    model = raise_opset(constants_to_initializers(model).model, opset).model
    model = fold(model, [*layer_weights(model), *recurrent.recurrent_weights(model, keep)]).model
    layers, left = quantizable_layers(model)
    kept = [layer for layer in layers if layer.op_type not in keep]
    table = calibrate(model, digest, kept, config, progress)
    half = config.precision == "int8+fp16"
    result = insert_qdq(model, kept, table.largest, Form(config.per_channel, half))
    notes = table.warnings
    if half:
        result = to_fp16(result.model, keep)
        notes += _beyond_half(table) + result.notes
    weights = recurrent.quantize_recurrent(result.model, keep)
    if not kept and not weights.layers:
        raise QuantizeError(
            "expected a layer with constant weights to quantize (Conv, Gemm, MatMul, LSTM, GRU, RNN), found none"
        )
    return _Made(weights.result.model, notes + weights.result.notes, len(kept) + weights.layers, tuple(left), table)


def _beyond_half(table: ScaleTable) -> tuple[str, ...]:
    return tuple(
        f"activation {name!r} reaches {value:g}, beyond FP16: it overflows; keep it in FP32 with --precision int8"
        for name, value in table.largest.items()
        if value > LARGEST_HALF
    )


def _bytes_by_type(model: onnx.ModelProto) -> dict[str, int]:
    sizes: collections.Counter[str] = collections.Counter()
    for tensor in model.graph.initializer:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        sizes[str(dtype)] += math.prod(tensor.dims) * dtype.itemsize
    return dict(sizes)
