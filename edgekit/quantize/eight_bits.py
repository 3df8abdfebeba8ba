"""From the float model to 8 bits: see it on real data, choose, keep what must be kept, rewrite."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx

from edgekit.configs import QuantizeConfig
from edgekit.errors import QuantizeError, UsageError
from edgekit.quantize import recurrent
from edgekit.quantize.calibration import Calibration, Wanted, calibrate, has_target
from edgekit.quantize.choice import Choice, Subject, Unit
from edgekit.quantize.halves import range_tensors
from edgekit.quantize.held_back import HeldBack
from edgekit.quantize.int8 import Form
from edgekit.quantize.keeping import Aim, Kept, keep
from edgekit.quantize.observers import Statistics
from edgekit.quantize.placement import layer_weights, quantizable_layers, residual_skips
from edgekit.quantize.precision import to_fp16
from edgekit.quantize.ranking import Ranking, predicted_db
from edgekit.quantize.scales import SMALLEST_HALF_SCALE
from edgekit.quantize.search import Found, Tried, search, with_all_samples
from edgekit.quantize.table import ScaleTable
from edgekit.quantize.weights import finite_values
from edgekit.reports import Progress
from edgekit.rewrite.constants import constants_to_initializers
from edgekit.rewrite.fold import fold
from edgekit.rewrite.opset import raise_opset

# A gain that is worth a word.
_MUCH_DB = 3.0
# QuantizeLinear has a scale a channel from opset 13, FP8 and FP16 scales from opset 19.
_OPSETS = {"int8": 13, "int8+fp16": 19, "fp8": 19}


@dataclass(frozen=True)
class Eight:
    """The model, and how it came about; `held_back` is open, for the last judgement, and `cache` has the range of every
    tensor of the float model, where a calibration cache was asked for. An interrupt leaves `calibrated`, to go on from.
    """

    model: onnx.ModelProto
    notes: tuple[str, ...]
    layers: int
    left: tuple[str, ...]
    table: ScaleTable
    calibrated: ScaleTable
    tried: tuple[Tried, ...]
    kept: Kept | None
    held_back: HeldBack
    cache: dict[str, float]


def to_eight_bits(
    model: onnx.ModelProto,
    model_sha256: str,
    config: QuantizeConfig,
    progress: Progress,
    save: Callable[[ScaleTable], None],
) -> Eight:
    """Quantize to `config.precision`, one of int8, int8+fp16 and fp8; `model` is consumed.

    Ranges are those of the float model, on real data. An interrupt hands the scale table to `save`. Raises what
    `calibrate` raises, QuantizeError for a model without layers to quantize, UsageError for a malformed number.
    """
    _check_count(config.keep_layers)
    subject, left, notes = _subject(model, config)
    wanted = _wanted(subject, config)
    seen = calibrate(subject.model, model_sha256, wanted, config, progress, save)
    calibrated, held_back = seen.table, seen.held_back
    try:
        found, why = _chosen(replace(subject, statistics=calibrated.statistics), seen, config, progress)
        subject, choice = found.subject, found.choice
        kept = _kept(subject, choice, held_back, config, progress)
        given = calibrated.kept if config.data is None and config.keep_layers is None else ()
        nodes = kept.nodes if kept else given
        table = _final(calibrated, subject, choice, nodes, all_seen=held_back.samples > 0)
        progress("rewriting the model", 0, 0)
        made, more = _finished(subject, choice, table.kept, config)
    except BaseException as error:
        held_back.close()
        if isinstance(error, KeyboardInterrupt):
            save(calibrated)
        raise
    return Eight(
        model=made,
        notes=(*calibrated.warnings, *why, *notes, *more, *_on_keeping(kept, config)),
        layers=len(subject.units) - len(table.kept),
        left=tuple(left),
        table=table,
        calibrated=calibrated,
        tried=found.tried,
        kept=kept,
        held_back=held_back,
        cache={name: subject.range_of(name, choice) for name in wanted.others},
    )


def _may_keep_none(config: QuantizeConfig) -> bool:
    """A recipe says auto for any set: one that is too small to measure layers on misses nothing that was promised."""
    return config.keep_layers == "auto" and config.data is not None and not has_target(config)


def _final(
    calibrated: ScaleTable, subject: Subject, choice: Choice, kept: tuple[str, ...], *, all_seen: bool
) -> ScaleTable:
    """The table of what was made; once its ranges have seen all samples, none is held back from them any more."""
    held_every, held = (0, 0) if all_seen else (calibrated.held_every, calibrated.held)
    return replace(
        calibrated,
        statistics=subject.statistics,
        held_every=held_every,
        held=held,
        choice=choice,
        kept=kept,
        ranges={layer.activation: subject.range_of(layer.activation, choice) for layer in subject.layers},
    )


def _check_count(keep_layers: str | int | None) -> None:
    if keep_layers not in (None, "auto") and not re.fullmatch("[0-9]{1,6}", str(keep_layers)):
        raise UsageError(f"keep_layers: expected a number or auto, found {keep_layers!r}", "--keep-layers auto")


def _subject(model: onnx.ModelProto, config: QuantizeConfig) -> tuple[Subject, list[str], tuple[str, ...]]:
    """The float model with what may be quantized, what was left and why."""
    keep_ops = config.keep_ops
    opset = max(_OPSETS[config.precision], recurrent.OPSET if recurrent.has_recurrent(model, keep_ops) else 0)
    model = raise_opset(constants_to_initializers(model).model, opset).model
    model = fold(model, [*layer_weights(model), *recurrent.recurrent_weights(model, keep_ops)]).model
    found, left = quantizable_layers(model)
    layers = [layer for layer in found if layer.op_type not in keep_ops]
    nodes, notes = recurrent.quantizable_recurrent(model, keep_ops)
    if not layers and not nodes:
        raise QuantizeError(
            "expected a layer with constant weights to quantize (Conv, Gemm, MatMul, LSTM, GRU, RNN), found none"
        )
    subject = Subject(
        model=model,
        layers=tuple(layers),
        recurrent=tuple(Unit(node.name, node.op_type) for node in nodes),
        skips=tuple(residual_skips(model, layers)) if config.residual else (),
        statistics=Statistics(),
        form=Form(config.per_channel, half=config.precision != "int8", float8=config.precision == "fp8"),
    )
    return subject, left, notes


def _wanted(subject: Subject, config: QuantizeConfig) -> Wanted:
    """By the largest value alone nothing else is needed than numbers; every other rule needs the tensors."""
    axes = {layer.activation: layer.channels for layer in subject.layers}
    axes |= {skip.tensor: axes.get(skip.tensor, 1) for skip in subject.skips}
    half = config.precision != "int8"
    others = range_tensors(subject.model) if half or config.calibration_cache else []
    if config.method == "max":
        return Wanted({}, tuple(dict.fromkeys([*axes, *others])))
    recurrent_nodes = {unit.node for unit in subject.recurrent}
    inputs = [node.input[0] for node in subject.model.graph.node if node.name in recurrent_nodes]
    return Wanted(dict.fromkeys(inputs, -1) | axes, tuple(others))


def _chosen(
    subject: Subject, seen: Calibration, config: QuantizeConfig, progress: Progress
) -> tuple[Found, tuple[str, ...]]:
    """The choice, the way to it, and what is to be said of it."""
    if config.method != "auto":
        return Found(Choice(ranges=config.method), with_all_samples(subject, seen.held_back), ()), ()
    if seen.held_back.samples:
        return search(subject, seen.held_back, seen.stream, progress), ()
    table = seen.table
    if config.data is None and table.choice is not None:
        if table.choice.weights != "gptq":
            return Found(table.choice, subject, ()), ()
        why = "GPTQ needs the data: weights are rounded one by one"
        return Found(replace(table.choice, weights="max"), subject, ()), (why,)
    are = "sample is" if table.samples == 1 else "samples are"
    few = f"{table.samples} {are} too few to hold some back and try choices on"
    why = few if config.data else "the scale table holds no choice, and without data there is none to make"
    why += ": ranges are the largest values"
    return Found(Choice(), subject, ()), (why,)


def _kept(
    subject: Subject, choice: Choice, held_back: HeldBack, config: QuantizeConfig, progress: Progress
) -> Kept | None:
    """Which layers stay as they are, where that was asked for."""
    if config.keep_layers is None and not has_target(config):
        return None
    if not held_back.samples:
        if _may_keep_none(config):
            return None
        raise QuantizeError(
            "expected samples held back from calibration to measure layers on, found too few",
            "--data with more samples",
        )
    if config.max_drop is not None and held_back.score(subject.model.SerializeToString(), 1).drop is None:
        raise QuantizeError(
            f"expected an output of class scores {'that the labels fit ' if held_back.labels is not None else ''}to "
            "measure --max-drop on, found none",
            "--min-sqnr-db",
        )
    return keep(
        subject,
        choice,
        held_back,
        (None if config.keep_layers is None else str(config.keep_layers), aim_of(config)),
        progress,
    )


def _on_keeping(kept: Kept | None, config: QuantizeConfig) -> tuple[str, ...]:
    """Without an aim few layers are kept, and of a small network none: then it is said what one more would give."""
    if kept is None and _may_keep_none(config):
        return ("no layer is kept: these are too few samples to hold some back and measure layers on",)
    if kept is None or config.keep_layers != "auto" or has_target(config) or len(kept.nodes) == len(kept.ranking):
        return ()
    number = len(kept.nodes)
    predicted = predicted_db(Ranking(kept.ranking, 1.0))
    gain = predicted[number + 1] - predicted[number]
    if not gain > _MUCH_DB:
        return ()
    layer = kept.ranking[number]
    return (
        f"{layer.op_type} {layer.layer!r} alone costs about {gain:.1f} dB: --keep-layers {number + 1} keeps it too",
    )


def aim_of(config: QuantizeConfig) -> Aim:
    """What the result has to reach."""
    return Aim(config.min_sqnr_db, config.max_drop)


def _finished(
    subject: Subject, choice: Choice, kept: tuple[str, ...], config: QuantizeConfig
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Recurrent weights come last: the cast to FP16 leaves recurrent nodes alone, and would step between them and their
    dequantized weights."""
    model = subject.with_qdq(choice, kept)
    notes: tuple[str, ...] = ()
    if config.precision != "int8":
        # Smoothed and shifted tensors have other ranges than those that were seen.
        seen = subject.statistics.tensors | subject.prepared(choice, kept).statistics.tensors
        ranges = {name: item.largest for name, item in seen.items()}
        half = to_fp16(model, config.keep_ops, ranges)
        model, notes = half.model, (*_too_small(subject), *half.notes)
    return subject.with_recurrent(model, choice, kept), notes


def _too_small(subject: Subject) -> tuple[str, ...]:
    """The layers whose weights would need scales that FP16 does not have."""
    weights = {tensor.name: tensor for tensor in subject.model.graph.initializer}
    largest = {layer: float(np.abs(finite_values(weights[layer.weight])).max()) for layer in subject.layers}
    return tuple(
        f"{layer.op_type} {layer.node!r}: its weights reach {value:g} only, and FP16 has no scales as small as theirs; "
        "--precision int8 has"
        for layer, value in largest.items()
        if 0 < value / subject.form.levels < SMALLEST_HALF_SCALE
    )
