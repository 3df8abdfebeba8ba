"""What `bench` found as one page that needs no network: the verdict, then what it rests on."""

from __future__ import annotations

from edgekit.bench.figures import company_figure, floor_figure, idle_figure, soak_figure, stages_figure, starts_figure
from edgekit.bench.measuring import Measured
from edgekit.bench.report import BenchReport
from edgekit.latency.arrivals import CLOSED, OFFLINE, POISSON
from edgekit.latency.figures import NAMES, Course, by_quantile, course_of, limits_of, over_time
from edgekit.latency.listed import quantile_table, slowest_table
from edgekit.latency.surroundings import conditions_facts, doubts_table, temperature, without_doubts
from edgekit.pages import Html, Value, facts, page, section, tiles
from edgekit.pages.promises import exact, promises, verdict_banner, warned
from edgekit.reports import called

_MOST_OF_A_NAME = 120
_MOST_OF_A_TEXT = 600
_ALL_AT_ONCE = (
    "All requests were due at once: how long one of them took says only how many were before it. What counts is how "
    "many were answered a second."
)


def bench_page(report: BenchReport, run: Measured) -> str:
    """The page of a report and the run that it is about, at most 200 kB however many requests there were."""
    parts = [
        section("Verdict", verdict_banner(report.verdict, report.findings), promises(report.findings)),
        section("At a glance", tiles(_headline(report))),
        section(
            "Doubts and warnings",
            doubts_table(report.doubts, report.allowed, report.findings),
            warned(without_doubts(report.warnings, report.doubts)),
        ),
        *_latency(report, course_of(run.samples)),
        section("Where the time goes", stages_figure(report)),
        section("Bound beside measured", floor_figure(report.floor)) if report.floor else Html(""),
        section("The slowest requests", slowest_table(report.worst)) if report.mode != OFFLINE else Html(""),
        section("Soak", soak_figure(report.soak, report.duration_s)) if report.soak else Html(""),
        section("After a pause", idle_figure(report.idle_gap)) if report.idle_gap else Html(""),
        section("In company", company_figure(report.company)) if report.company else Html(""),
        section("An outside judge", warned(report.judge.lines(), "" if report.judge.agrees else "warn"))
        if report.judge
        else Html(""),
        section("Cold start and memory", starts_figure(report.starts, report.peak_rss_mib)),
        section("Conditions", conditions_facts(report.environment)),
        section("How it was measured", facts(_how(report))),
    ]
    name = called(report.source)[:_MOST_OF_A_NAME]
    ran = f"on {report.backend}, {report.device} ({report.reason}); measured on {report.data}"
    return page(f"{name}: latency", parts, ran[:_MOST_OF_A_TEXT])


def _headline(report: BenchReport) -> dict[str, Value]:
    """The few numbers to look for first; those of single requests only where these came one by one."""
    found = report.summary
    told: dict[str, Value] = {}
    if report.mode != OFFLINE:
        told = {
            "p50": f"{exact(found.p50_ms.value)} ms",
            "p99": f"{exact(found.p99_ms.value)} ms",
            "slowest": f"{exact(report.worst[0].latency_ms)} ms",
        }
    if found.deadline_miss is not None and report.deadline_ms is not None:
        told[f"later than {exact(report.deadline_ms)} ms"] = f"{found.deadline_miss.value:.2%}"
    told |= {"requests": found.n, "answers a second": exact(report.throughput_per_s)}
    if report.cold_start_s is not None:
        told["cold start"] = f"{exact(report.cold_start_s)} s"
    return told | {"memory": f"{report.peak_rss_mib:,.0f} MiB"}


def _latency(report: BenchReport, course: Course) -> list[Html]:
    if report.mode == OFFLINE:
        return [section("Latency", _ALL_AT_ONCE, temperature(report.environment))]
    lines = limits_of(report.findings, report.deadline_ms)
    windows = report.soak.windows if report.soak else ()
    figures = (over_time(course, lines), temperature(report.environment, windows, course))
    quantiles = (by_quantile(course, report.summary, lines), quantile_table(report.summary, report.deadline_ms))
    return [section("Latency", *figures, *quantiles)]


def _how(report: BenchReport) -> dict[str, Value]:
    arrivals = "one after the other" if report.fps is None else f"{report.fps:g} a second"
    if report.mode == POISSON:
        arrivals += f" in the mean, at random (seed {report.seed})"
    elif report.mode == OFFLINE:
        arrivals = "all at once"
    busy = None if report.utilisation is None else f"{report.utilisation:.0%} of the time"
    if report.mode == CLOSED:
        busy = "all of the time, in a closed loop"
    told: dict[str, Value] = {
        "mode": f"{report.mode}: {arrivals}",
        "requests": f"{report.summary.n:,}, of which {report.answered:,} were answered",
        "independent samples": ", ".join(
            f"{NAMES.get(key, key)} {count:,}" for key, count in report.summary.effective_n.items()
        ),
        "busy": busy,
        "at the most": f"{report.duration_s:g} s",
        "latency": "from when a request was meant to start to when its answer was there",
        "model": str(report.source),
        "data": report.data,
        "shapes": ", ".join(f"{name} {list(shape)}" for name, shape in report.shapes.items()),
        "raw times": str(report.raw_file) if report.raw_file else "not written; --raw F.npz writes them",
        "report": str(report.path),
        "seconds": report.seconds,
    }
    return {name: value[:_MOST_OF_A_TEXT] if isinstance(value, str) else value for name, value in told.items()}
