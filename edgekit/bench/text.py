"""What was measured, for a person: quantiles with their intervals, never a mean alone."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.bench.report import BenchReport
from edgekit.latency.arrivals import OFFLINE, POISSON
from edgekit.latency.stages import absent_stages

_ALL_AT_ONCE = "all due at once"


def report_lines(report: BenchReport) -> Iterator[str]:
    """All but the verdict."""
    yield f"measured on {report.data}"
    yield from _latency_lines(report)
    yield from _stage_lines(report)
    yield from report.device_stages.lines(report.stages["compute"]) if report.device_stages else ()
    yield from report.floor.lines() if report.floor else ()
    yield from (f"beside {one}" for one in report.company)
    yield from _process_lines(report)
    yield from _course_lines(report)
    yield from report.judge.lines() if report.judge else ()
    yield from map(str, report.findings)


def _latency_lines(report: BenchReport) -> Iterator[str]:
    found = report.summary
    if report.mode == OFFLINE:  # how long one of them waits says only how many there were
        seconds = report.answered / report.throughput_per_s
        yield f"{report.answered} of {found.n} requests, {arrivals(report)}: {seconds:.4g} s, {rate(report)}"
        return
    yield f"latency of {found.n} requests, {arrivals(report)}: mean {found.mean_ms:.4g} ms"
    yield from found.lines(report.deadline_ms, ("p50", "p90", "p99", "p99.9"))
    busy = "" if report.utilisation is None else f", busy for {report.utilisation:.0%} of the time"
    yield f"  jitter {found.jitter_ms:.4g} ms, {rate(report)}{busy}"


def rate(report: BenchReport) -> str:
    """How many it answers."""
    return f"{report.throughput_per_s:.4g} answers a second"


def arrivals(report: BenchReport) -> str:
    """When requests come."""
    if report.mode == OFFLINE:
        return _ALL_AT_ONCE
    if report.fps is None:
        return "one after the other"
    return f"{report.fps:g} a second" + (" in the mean, at random" if report.mode == POISSON else "")


def _stage_lines(report: BenchReport) -> Iterator[str]:
    times = ", ".join(f"{name} {stage.p50_ms.value:.3g}" for name, stage in report.stages.items())
    slow = ", ".join(f"{name} {stage.p99_ms.value:.3g}" for name, stage in report.stages.items())
    yield f"stages in ms: p50 {times}; p99 {slow}"
    for names, why in absent_stages(report.absent_stages):
        yield f"  not there: {names}, {why}"


def _process_lines(report: BenchReport) -> Iterator[str]:
    if not report.starts:
        return
    start = min(report.starts, key=lambda one: abs(one.seconds - (report.cold_start_s or 0)))
    rest = start.seconds - start.open_s - start.first_s
    parts = f"Python {rest:.2g}, opening {start.open_s:.2g}, first inference {start.first_s:.2g}"
    many = "a new process" if len(report.starts) == 1 else f"{len(report.starts)} new processes, the median"
    yield f"cold start {report.cold_start_s:.3g} s ({parts}), {report.peak_rss_mib:.0f} MiB of memory: {many}"


def _course_lines(report: BenchReport) -> Iterator[str]:
    if report.idle_gap is not None:
        gap = report.idle_gap
        yield (
            f"after a pause of {gap.pause_s:g} s: {gap.first_ms.value:.4g} ms ({gap.first_ms.ends}), "
            f"else {gap.settled_ms.value:.4g} ms ({gap.settled_ms.ends}): {gap.slower:.2f} times"
        )
    if report.soak is None:
        return
    yield f"soak in windows of {report.soak.window_s:g} s:"
    for window in report.soak.windows:
        heat = "" if window.celsius is None else f", {window.celsius:.0f} C"
        times = f"p50 {window.p50_ms:.4g}, p99 {window.p99_ms:.4g}, worst {window.max_ms:.4g} ms"
        yield f"  from {window.begin_s:g} s: {window.n} requests, {times}{heat}"
    yield f"  drift {report.soak.drift.words(report.duration_s)}"
