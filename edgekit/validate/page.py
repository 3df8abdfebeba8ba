"""What `validate` found as one page that needs no network: is the model still the model, and is it in time?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.latency.figures import Course, by_number, by_quantile, limits_of, over_time
from edgekit.latency.listed import quantile_table, slowest_table
from edgekit.latency.surroundings import conditions_facts, doubts_table, temperature, without_doubts
from edgekit.latency.worst import worst_latencies
from edgekit.pages import Html, Value, facts, page, paragraph, section, tiles
from edgekit.pages.promises import exact, promises, verdict_banner, warned
from edgekit.reports import called
from edgekit.validate.figures import labels_table, outputs_table, robustness_table, slices_table

if TYPE_CHECKING:
    from edgekit.validate import LatencyReport, ValidateReport

_MOST_OF_A_NAME = 120
_NO_STAGES = "Whether a request waited or was computed for long, edgekit bench tells."


def validate_page(report: ValidateReport) -> str:
    """The page of a report, at most 200 kB however much was measured: the verdict first, then what it rests on."""
    parts = [
        section("Verdict", verdict_banner(report.verdict, report.findings), promises(report.findings)),
        section("At a glance", tiles(_headline(report))),
        section("Doubts and warnings", *_doubtful(report)),
        section("Accuracy against the reference", outputs_table(report.accuracy), labels_table(report.accuracy)),
        *_damage(report),
        *([] if report.latency is None else _latency(report, report.latency)),
        section("How it was measured", facts(_how(report))),
    ]
    name = called(report.source)[:_MOST_OF_A_NAME]
    return page(f"{name}: is it still the model?", parts, f"on {report.backend}, with {report.data}"[:600])


def _headline(report: ValidateReport) -> dict[str, Value]:
    """The worst output, and the answers by the labels."""
    accuracy = report.accuracy
    told: dict[str, Value] = {}
    if accuracy.sqnr_db:
        told["SQNR of the worst output"] = f"{exact(min(accuracy.sqnr_db.values()))} dB"
    if accuracy.agreement:
        told["same class as the reference"] = f"{min(accuracy.agreement.values()):.2%}"
    if accuracy.top1 is not None:
        told["top-1"] = f"{accuracy.top1.found:.2%}"
    if accuracy.perplexity is not None:
        told["perplexity"] = exact(accuracy.perplexity.found)
    if report.latency is not None:
        told["p50"] = f"{exact(report.latency.summary.p50_ms.value)} ms"
        told["p99"] = f"{exact(report.latency.summary.p99_ms.value)} ms"
    return told | {"samples": report.samples}


def _doubtful(report: ValidateReport) -> list[Html]:
    """Doubts about the conditions of the latency, and the warnings that are no such doubt."""
    doubts, allowed = (report.latency.doubts, report.latency.allowed) if report.latency else ((), ())
    others = without_doubts(report.warnings, doubts)
    if not doubts and not others:
        return [paragraph("None.")]
    return [doubts_table(doubts, allowed, report.findings) if doubts else Html(""), warned(others)]


def _damage(report: ValidateReport) -> list[Html]:
    slices, robustness = report.accuracy.slices, report.accuracy.robustness
    return [
        section("Slices", slices_table(slices)) if slices is not None and slices.slices else Html(""),
        section("Robustness", robustness_table(robustness)) if robustness is not None else Html(""),
    ]


def _latency(report: ValidateReport, latency: LatencyReport) -> list[Html]:
    course: Course = by_number(latency.latencies_ms)
    lines = limits_of(report.findings, latency.deadline_ms)
    figures = (over_time(course, lines), temperature(latency.environment))
    quantiles = (by_quantile(course, latency.summary, lines), quantile_table(latency.summary, latency.deadline_ms))
    return [
        section("Latency", *figures, *quantiles),
        section("The slowest requests", slowest_table(worst_latencies(course.latencies_ms)), _NO_STAGES),
        section("Conditions", conditions_facts(latency.environment)),
    ]


def _how(report: ValidateReport) -> dict[str, Value]:
    told: dict[str, Value] = {
        "model": str(report.source),
        "backend": report.backend,
        "data": report.data,
        "SHA-256 of the data": report.data_sha256,
        "emulated in FP32": ", ".join(report.emulated) or "nothing",
        "seconds": report.seconds,
    }
    if report.latency is not None:
        found = report.latency
        told |= {
            "requests": f"{found.summary.n:,}, "
            + (f"{found.fps:g} a second" if found.fps else "one after the other (closed loop)"),
            "busy": None if found.utilisation is None else f"{found.utilisation:.0%} of the time",
            "shapes": ", ".join(f"{name} {list(shape)}" for name, shape in found.shapes.items()),
        }
    return {name: value[:600] if isinstance(value, str) else value for name, value in told.items()}
