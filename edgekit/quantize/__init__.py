"""ONNX -> ONNX at another precision: FP16 by casts, INT8 by explicit Q/DQ calibrated on real data."""

from __future__ import annotations

import contextlib
from pathlib import Path

import onnx

from edgekit.configs import QuantizeConfig
from edgekit.errors import QuantizeError, first_line
from edgekit.files import check_apart, json_bytes, written_aside
from edgekit.quantize.calibration_cache import calibration_cache
from edgekit.quantize.making import fitting, make, reads_data
from edgekit.quantize.report import Judgement, QuantizeReport, judged, picture_of, report_of
from edgekit.quantize.table import ScaleTable
from edgekit.reports import Progress, Stopwatch, no_progress, report_file

__all__ = ["QuantizeReport", "fitting", "picture_file", "quantize", "scales_file"]


def quantize(
    source: Path, out: Path, config: QuantizeConfig = QuantizeConfig(), progress: Progress = no_progress
) -> QuantizeReport:
    """Write `source` (any ONNX file) at `config.precision` to `out`.

    With data there is `<out>.scales.json` too, and where layers were ranked `<out>.layers.svg`.
    Raises ModelError, DataError, UsageError (INT8 without data), QuantizeError or OutputError; then nothing is written.
    An interrupt leaves the scale table alone, which --scales takes. A missed --min-sqnr-db or --max-drop is no error
    but a verdict: the best model found is written. The numbers are judged by `edgekit.validate`, not here.
    """
    watch = Stopwatch()
    files = _files(source, out, config)
    with contextlib.ExitStack() as stack:
        aside = {name: stack.enter_context(written_aside(file)) for name, file in files.items()}
        progress(f"reading {source.name}", 0, 0)
        made = make(source, config, progress, lambda table: _save(table, out))
        if made.eight:
            stack.callback(made.eight.held_back.close)
        try:
            progress(f"writing {out.name}", 0, 0)
            aside["model"].write_bytes(_checked(made.model))
            judgement = judged(made.eight, aside["model"], out, config) if made.eight else Judgement()
        except KeyboardInterrupt:
            if table := made.eight.calibrated if made.eight else made.table:
                _save(table, out)
            raise
        if made.table:
            aside["table"].write_bytes(made.table.to_bytes())
        if made.eight and config.calibration_cache:
            aside["cache"].write_text(calibration_cache(made.eight.cache), encoding="utf-8", newline="\n")
        picture = picture_of(made.eight.kept, judgement, config) if made.eight and made.eight.kept else None
        if picture:
            stack.enter_context(written_aside(picture_file(out))).write_text(picture, encoding="utf-8")
        report = report_of(made, (source, out, aside["model"]), judgement, config, watch)
        aside["report"].write_bytes(json_bytes(report.to_json()))
    if not picture:  # that of an earlier model would pass for one of this one
        picture_file(out).unlink(missing_ok=True)
    return report


def _files(source: Path, out: Path, config: QuantizeConfig) -> dict[str, Path]:
    """What will be written; OutputError where that would take the place of an input or of another output.

    The scale table may be written over the one that is read.
    """
    files = {"model": out, "report": report_file(out)}
    if reads_data(config):
        files["table"] = scales_file(out)
    if config.calibration_cache:
        files["cache"] = config.calibration_cache
        for file in (out, report_file(out), scales_file(out), picture_file(out)):
            check_apart(file, config.calibration_cache)
    data = Path(config.data) if config.data else None
    for name, file in files.items():
        for given in (source, data, config.labels, None if name == "table" else config.scales):
            if given is not None:
                check_apart(given, file)
    return files


def _save(table: ScaleTable, out: Path) -> None:
    """An interrupt leaves what was seen, for --scales."""
    with written_aside(scales_file(out)) as partial:
        partial.write_bytes(table.to_bytes())


def scales_file(out: Path) -> Path:
    """Where the scale table of an INT8 model stands."""
    return out.with_name(out.name + ".scales.json")


def picture_file(out: Path) -> Path:
    """Where the picture of what each layer costs stands, when layers were ranked."""
    return out.with_name(out.name + ".layers.svg")


def _checked(model: onnx.ModelProto) -> bytes:
    """What a converter broke must not leave as a success."""
    serialized = model.SerializeToString()
    try:
        onnx.checker.check_model(serialized)
    except onnx.checker.ValidationError as error:
        raise QuantizeError(f"the quantized model is not valid ONNX: {first_line(error)}") from error
    return serialized
