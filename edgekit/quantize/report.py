"""What a quantized model is like: its report, and the last judgement on samples that its ranges did not see."""

from __future__ import annotations

import collections
import math
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from edgekit.budget import FAIL, PASS
from edgekit.configs import QuantizeConfig
from edgekit.errors import ModelError
from edgekit.judge import Judge
from edgekit.quantize.calibration import has_target
from edgekit.quantize.eight_bits import Eight, aim_of
from edgekit.quantize.held_back import Score
from edgekit.quantize.keeping import Kept
from edgekit.quantize.making import Made
from edgekit.quantize.picture import ranking_svg
from edgekit.quantize.ranking import Noise, Ranking
from edgekit.quantize.search import Tried
from edgekit.reports import StageReport, Stopwatch, peak_rss_mib


@dataclass(frozen=True)
class QuantizeReport(StageReport):
    """What the model weighs before and after; `weights` counts bytes by dtype, `left` says what stayed as it was.

    `verdict` and `exit_code` answer --min-sqnr-db and --max-drop ('' and 0 without them), `held_back` is what the model
    scores on the samples that its ranges did not see. `tried` is the way to the choice of scales, `kept_layers` stay
    as they were, and `ranking` says what each layer costs alone, worst first. `method` is the choice in words.
    """

    precision: str
    source: Path
    bytes_before: int
    bytes_after: int
    weights: dict[str, int]
    kept_ops: dict[str, int]
    quantized_layers: int
    left: tuple[str, ...]
    calibrated_on: str = ""
    calibration_sha256: str = ""
    calibration_samples: int = 0
    method: str = ""
    verdict: str = ""
    exit_code: int = 0
    held_back_samples: int = 0
    held_back: Score | None = None
    tried: tuple[Tried, ...] = ()
    kept_layers: tuple[str, ...] = ()
    ranking: tuple[Noise, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """The score on the samples held back, and the verdict where something was asked for."""

    score: Score | None = None
    verdict: str = ""
    exit_code: int = 0
    notes: tuple[str, ...] = ()


def report_of(
    made: Made, files: tuple[Path, Path, Path], judgement: Judgement, config: QuantizeConfig, watch: Stopwatch
) -> QuantizeReport:
    """The report; `files` are the source, the output, and where that is written now."""
    source, out, written = files
    eight = made.eight
    return QuantizeReport(
        path=out,
        seconds=watch.seconds(),
        peak_rss_mib=peak_rss_mib(),
        warnings=(*made.notes, *judgement.notes),
        precision=config.precision,
        source=source,
        bytes_before=source.stat().st_size,
        bytes_after=written.stat().st_size,
        weights=_bytes_by_type(made.model),
        kept_ops={op: sum(node.op_type == op for node in made.model.graph.node) for op in config.keep_ops},
        quantized_layers=made.layers,
        left=made.left,
        calibrated_on=made.table.data if made.table else "",
        calibration_sha256=made.table.data_sha256 if made.table else "",
        calibration_samples=made.table.samples if made.table else 0,
        method=_method(made, config),
        verdict=judgement.verdict,
        exit_code=judgement.exit_code,
        held_back_samples=eight.held_back.samples if eight else 0,
        held_back=replace(judgement.score, by_batch=()) if judgement.score else None,
        tried=eight.tried if eight else (),
        kept_layers=made.table.kept if made.table else (),
        ranking=eight.kept.ranking if eight and eight.kept else (),
    )


def judged(eight: Eight, written: Path, out: Path, config: QuantizeConfig) -> Judgement:
    """The very file on the samples held back, in a process of its own, and the verdict where one was asked for.

    `written` is where the model stands now, `out` where it will.
    """
    held_back = eight.held_back
    if not held_back.samples:
        return Judgement()
    try:
        with Judge(written) as judge:
            score = held_back.score_of(judge.run)
    except ModelError as error:
        problem = error.problem.replace(str(written), str(out))
        if has_target(config):
            raise ModelError(problem) from error
        return Judgement(notes=(f"not judged on the samples held back: {problem}",))
    if not has_target(config):
        return Judgement(score)
    holds = aim_of(config).holds(score)
    notes = _doubts(held_back.samples, config.max_drop)
    return Judgement(score, f"{PASS if holds else FAIL}: {_clause(eight, score, config)}", 0 if holds else 3, notes)


def _method(made: Made, config: QuantizeConfig) -> str:
    """How the model got its precision, in words."""
    if config.relegalize:
        return "the scales that were there"
    if made.eight is not None:
        return str(made.eight.table.choice)
    way = "blocks of weights" if config.precision == "int4" else "casts"
    return f"{way}, by what data showed" if made.table else way


def _clause(eight: Eight, score: Score, config: QuantizeConfig) -> str:
    """What was asked for, what was found, and at what price."""
    asked = [f"sqnr_db >= {config.min_sqnr_db:g}"] if config.min_sqnr_db is not None else []
    asked += [f"drop <= {config.max_drop:g}"] if config.max_drop is not None else []
    by = "of top-1" if eight.held_back.labels is not None else "of agreement with FP32, for want of labels"
    drop = "" if score.drop is None else f" and a drop of {score.drop:.4g} ({by})"
    kept, layers = len(eight.table.kept), len(eight.table.kept) + eight.layers
    by_number = config.keep_layers not in (None, "auto")
    most = "" if by_number or aim_of(config).holds(score) else ", never more than half"
    return (
        f"asked for {' and '.join(asked)}, found {score.sqnr_db:.2f} dB{drop} on {eight.held_back.samples} samples "
        f"held back while choosing; {kept} of {layers} layers kept{most}"
    )


def _doubts(samples: int, max_drop: float | None) -> tuple[str, ...]:
    """Few samples cannot show a small drop."""
    if not max_drop or 1 / samples <= max_drop:
        return ()
    return (f"one of the {samples} samples held back is a drop of {1 / samples:.2g}: --max-drop {max_drop:g} asks for "
            f"{2 * math.ceil(1 / max_drop)} samples or more",)  # fmt: skip


def picture_of(kept: Kept, judgement: Judgement, config: QuantizeConfig) -> str | None:
    """The ranking as SVG; None where a layer breaks the model, so that there is no bar to draw."""
    if not all(math.isfinite(noise.power) for noise in kept.ranking):
        return None
    scores = {number: score.sqnr_db for number, score in kept.measured.items()}
    if judgement.score is not None:
        scores[len(kept.nodes)] = judgement.score.sqnr_db
    measured = tuple((number, db) for number, db in sorted(scores.items()) if math.isfinite(db))
    return ranking_svg(Ranking(kept.ranking, 1.0, kept.nodes, measured, config.min_sqnr_db))


def _bytes_by_type(model: onnx.ModelProto) -> dict[str, int]:
    sizes: collections.Counter[str] = collections.Counter()
    for tensor in model.graph.initializer:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        # Two values of four bits share a byte, where NumPy's own takes one each.
        four_bits = tensor.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)
        count = math.prod(tensor.dims)
        sizes[str(dtype)] += -(-count // 2) if four_bits else count * dtype.itemsize
    return dict(sizes)
