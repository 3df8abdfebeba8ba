"""One precision, one way: what each of them does to a model, and what it needs to know of the data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import onnx

from edgekit.configs import CALIBRATED, QuantizeConfig
from edgekit.errors import QuantizeError, UsageError, nearest
from edgekit.quantize import recurrent
from edgekit.quantize.bf16 import to_bf16
from edgekit.quantize.calibration import Calibration, Wanted, calibrate
from edgekit.quantize.eight_bits import Eight, to_eight_bits
from edgekit.quantize.halves import range_tensors
from edgekit.quantize.int4 import OPSET, Int4Form, int4_layers, to_int4
from edgekit.quantize.moments import second_moments
from edgekit.quantize.placement import layer_weights, quantizable_layers
from edgekit.quantize.precision import to_fp16
from edgekit.quantize.relegalize import relegalize
from edgekit.quantize.table import ScaleTable
from edgekit.reports import Progress
from edgekit.rewrite.constants import constants_to_initializers
from edgekit.rewrite.fold import fold
from edgekit.rewrite.inline_functions import inline_functions
from edgekit.rewrite.opset import raise_opset
from edgekit.rewrite.reading import read_onnx_file

Save = Callable[[ScaleTable], None]

_PLAIN = QuantizeConfig()
# What belongs to scales of activations, and what to reading data.
_OF_EIGHT_BITS = ("method", "per_channel", "residual", "keep_layers", "min_sqnr_db", "max_drop", "calibration_cache")
_OF_DATA = ("samples", "recipe", "labels")
_NOT_RUN = "not judged here: onnxruntime's CPU has no BF16; edgekit validate judges it by an emulation"


@dataclass(frozen=True)
class Made:
    """A model, and what is to be said of it: `table` where data were read, `eight` where it has 8 bits."""

    model: onnx.ModelProto
    notes: tuple[str, ...]
    layers: int = 0
    left: tuple[str, ...] = ()
    table: ScaleTable | None = None
    eight: Eight | None = None


def make(source: Path, config: QuantizeConfig, progress: Progress, save: Save) -> Made:
    """Give the model in `source` another precision; an interrupt hands what was seen of the data to `save`."""
    _check_asked(config)
    found = read_onnx_file(source)
    # onnx's version converter drops functions without a word, and no pass looks into them.
    found.model = inline_functions(found.model).model
    _check_kept(found.model, source, config)
    if config.relegalize:
        mended = relegalize(found.model)
        return Made(mended.model, mended.notes)
    digest = hashlib.sha256(found.serialized).hexdigest()
    if config.precision in CALIBRATED:
        eight = to_eight_bits(found.model, digest, config, progress, save)
        return Made(eight.model, eight.notes, eight.layers, eight.left, eight.table, eight)
    if config.precision == "bf16":
        done = to_bf16(found.model, config.keep_ops)
        return Made(done.model, (*done.notes, _NOT_RUN))
    if config.precision == "int4":
        return _int4(found.model, digest, config, progress, save)
    seen = _seen(found.model, digest, config, Wanted({}, tuple(range_tensors(found.model))), progress, save)
    ranges = {name: item.largest for name, item in seen.table.statistics.tensors.items()} if seen else None
    half = to_fp16(found.model, config.keep_ops, ranges)
    return Made(half.model, (*(seen.table.warnings if seen else ()), *half.notes), table=seen.table if seen else None)


def reads_data(config: QuantizeConfig) -> bool:
    """Whether a scale table will be written."""
    if config.relegalize or config.precision == "bf16":
        return False
    return config.precision in CALIBRATED or config.data is not None or config.scales is not None


def unused(config: QuantizeConfig) -> dict[str, str]:
    """The options that say something and would be ignored without a word, by name, each with the reason."""
    reasons: dict[str, str] = {}
    if config.max_drop is None:
        reasons["labels"] = "--max-drop, which they are for, is not given"
    if config.data is None:
        reasons |= dict.fromkeys(_OF_DATA, "it says how --data is read, and there is none")
    if config.precision == "fp8":
        reasons["calibration_cache"] = "TensorRT's calibration caches are for INT8"
    if config.precision == "fp8" and config.method == "mse":
        reasons["method"] = "its least squares are those of INT8's levels"
    if config.precision not in CALIBRATED:
        why = f"it belongs to {', '.join(CALIBRATED)}, not to {config.precision}"
        reasons |= dict.fromkeys((*_OF_EIGHT_BITS, "labels"), why)
    if config.precision == "bf16":
        reasons |= dict.fromkeys(("data", "scales", *_OF_DATA), "bf16 has the range of FP32: no data need be seen")
    if config.relegalize:
        others = [item.name for item in fields(config) if item.name not in ("precision", "relegalize")]
        reasons |= dict.fromkeys(others, "--relegalize keeps the scales and the float layers that are there")
    return {name: why for name, why in reasons.items() if getattr(config, name) != getattr(_PLAIN, name)}


def fitting(config: QuantizeConfig) -> QuantizeConfig:
    """The same without what is unused: a recipe for INT8 can be deployed in FP16."""
    return replace(config, **{name: getattr(_PLAIN, name) for name in unused(config)})


def _check_asked(config: QuantizeConfig) -> None:
    if config.relegalize and config.precision != "int8":
        raise UsageError(f"expected --precision int8 for --relegalize, found {config.precision}", "--precision int8")
    for name, why in unused(config).items():
        flag = f"--{'no-' if name == 'per_channel' else ''}{name.replace('_', '-')}"
        raise UsageError(f"expected no {flag} here, found it: {why}", f"the command without {flag}")


def _check_kept(model: onnx.ModelProto, source: Path, config: QuantizeConfig) -> None:
    present = {node.op_type for node in model.graph.node}
    for op_type in config.keep_ops:
        if op_type not in present:
            raise QuantizeError(f"--keep-ops {op_type}: no such operator in {source}; {nearest(op_type, present)}")


def _seen(
    model: onnx.ModelProto, digest: str, config: QuantizeConfig, wanted: Wanted, progress: Progress, save: Save
) -> Calibration | None:
    """What real data look like inside of the model; None where there are none."""
    if config.data is None and config.scales is None:
        return None
    return calibrate(model, digest, wanted, replace(config, method="max"), progress, save)


def _int4(model: onnx.ModelProto, digest: str, config: QuantizeConfig, progress: Progress, save: Save) -> Made:
    """Products in INT4, recurrent weights in INT8, and the rest in FP16, which keeps attention in one kernel."""
    keep_ops = config.keep_ops
    model = raise_opset(constants_to_initializers(model).model, OPSET).model
    model = fold(model, [*layer_weights(model), *recurrent.recurrent_weights(model, keep_ops)]).model
    form = Int4Form(half=True)
    found, left = quantizable_layers(model)
    layers, more = int4_layers(model, [layer for layer in found if layer.op_type not in keep_ops], form)
    nodes, notes = recurrent.quantizable_recurrent(model, keep_ops)
    if not layers:
        raise QuantizeError(
            "expected a product (MatMul, Gemm) with a constant weight of 64 inputs or a multiple for INT4, found none",
            "--precision int8",
        )
    seen = _seen(model, digest, config, Wanted({}, tuple(range_tensors(model))), progress, save)
    moments = None
    if seen is not None and seen.stream is not None:
        tensors = list(dict.fromkeys(layer.activation for layer in layers))
        try:
            moments = second_moments(model, tensors, seen.stream(), progress, seen.table.samples)
        except KeyboardInterrupt:
            save(seen.table)
            raise
    progress("rounding weights", 0, 0)
    ranges = {name: item.largest for name, item in seen.table.statistics.tensors.items()} if seen else None
    done = to_int4(model, layers, moments, form)
    half = to_fp16(done.model, keep_ops, ranges)
    made = recurrent.quantize_recurrent(half.model, {node.name for node in nodes})
    said = (*(seen.table.warnings if seen else ()), *notes, *done.notes, *half.notes)
    return Made(made.model, said, len(layers) + len(nodes), (*left, *more), seen.table if seen else None)
