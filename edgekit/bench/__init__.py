"""How fast is a model here, where does the time go, and does a budget hold?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from edgekit.bench.asked import at_its_rate, left_out, limits_of, mode_of, starts_of
from edgekit.bench.company import company_of, models_beside, request_of, trusting
from edgekit.bench.floor import measured_floor
from edgekit.bench.measuring import Measured, judged, measured
from edgekit.bench.papers import papers
from edgekit.bench.report import BenchReport
from edgekit.bench.requests import Requests, examples_of, find_requests
from edgekit.bench.serving import Server, serving
from edgekit.bench.text import report_lines
from edgekit.budget import FAKE_DEVICE, doubt_fakes, verdict_of
from edgekit.configs import BenchConfig
from edgekit.files import all_written_aside, json_bytes
from edgekit.latency import Doubt, Timer, summarise
from edgekit.latency.arrivals import SOAK
from edgekit.latency.beside import beside
from edgekit.latency.cold_start import Start, cold_starts
from edgekit.latency.conditions import Conditions, machine
from edgekit.latency.doubts import settle, told
from edgekit.latency.stages import summarise_stages
from edgekit.latency.verdict import overload
from edgekit.latency.worst import worst_requests
from edgekit.reports import Progress, Stopwatch, no_progress, peak_rss_mib
from edgekit.validate.running import check_timeable
from edgekit.validate.subject import Subject, open_subject

__all__ = ["BenchReport", "bench", "report_lines"]


def bench(
    source: Path,
    out: Path,
    config: BenchConfig = BenchConfig(),
    progress: Progress = no_progress,
    timer: Timer = Timer(),
) -> BenchReport:
    """Measure `source`, an ONNX file or a bundle, and judge it by `config.budget`; the report goes to `out`.

    A bundle is measured in a Session, from a picture to its answer where it knows how; an ONNX in onnxruntime at
    ORT_DISABLE_ALL, on ready arrays. Without a budget a bundle is judged by what it was made for, at the rate that it
    was made for unless a mode, a rate or a judge is given; a warning names each promise about time or memory that then
    cannot be judged. With nothing to judge the verdict is `measured`. Raises UsageError for what does not go together,
    DataError, ModelError, RecipeError, IntegrityError or OutputError, TargetError for a backend or a judge that is not
    there and for BF16 without a GPU, SessionError for a model that fails; a broken budget is no error but a verdict.
    """
    also = papers(config)
    read = (examples_of(source), config.data, config.recipe, *config.trusted_keys, *models_beside(config))
    with all_written_aside(source, [out, *(path for path, _ in also)], read) as (partial, *asides):
        report, run = _report(source, out, config, progress, timer)
        for aside, (_, write) in zip(asides, also, strict=True):
            write(aside, report, run)
        partial.write_bytes(json_bytes(report.to_json()))
    return report


def _report(
    source: Path, out: Path, config: BenchConfig, progress: Progress, timer: Timer
) -> tuple[BenchReport, Measured]:
    watch = Stopwatch()
    limits_of(config, mode_of(config))  # before anything is opened
    subject = open_subject(source, replace(trusting(config), recipe=config.recipe, backend=config.backend))
    config = at_its_rate(config, subject)
    mode = mode_of(config)
    limits = limits_of(config, mode, subject.promises)
    check_timeable(subject, config.backend)
    requests = find_requests(subject, config.data)
    company = company_of(config)
    found = machine()
    starts = _starts(subject, config, requests, starts_of(config, limits), progress)
    with serving(subject, config.backend, requests) as server, beside(company) as others:
        server = replace(server, now=timer.now)
        run = measured(server, mode, limits, config, timer, progress)
    conditions = Conditions(found, run.before, run.after, subject.digests(server.backend, config.backend))
    floor = measured_floor(subject, requests, server, run)
    doubts = (*requests.doubts, *run.doubts(), *conditions.doubts(on_gpu=server.backend != "ort", soaked=mode == SOAK))
    doubts += floor.doubts() if floor else ()
    findings = doubt_fakes(settle(judged(limits, run.samples, config.fps, starts), doubts, config.allow), server.device)
    verdict, exit_code = verdict_of(findings) if limits else ("measured", 0)
    ran = f"{server.backend}, {server.device}"
    deadline_ms = 1e3 / config.fps if config.fps else None
    report = BenchReport(
        path=out,
        seconds=watch.seconds(),
        peak_rss_mib=median(start.peak_rss_mib for start in starts) if starts else peak_rss_mib(),
        warnings=(*left_out(config, mode, subject.promises), *_warnings(doubts, config, run, server.device)),
        source=source,
        verdict=f"{verdict} ({ran}){subject.engines_left(ran)}",
        exit_code=exit_code,
        backend=server.backend,
        device=server.device,
        reason=server.reason,
        findings=findings,
        doubts=doubts,
        environment=conditions,
        starts=starts,
        company=tuple(others),
        floor=floor,
        raw_file=config.raw,
        **_asked(config, mode, requests, deadline_ms),
        **_found(run, server, config.fps, deadline_ms),
    )
    return report, run


def _asked(config: BenchConfig, mode: str, requests: Requests, deadline_ms: float | None) -> dict[str, Any]:
    """The part of the report that says what was asked for."""
    return {
        "mode": mode,
        "fps": config.fps,
        "seed": config.seed,
        "duration_s": config.duration,
        "deadline_ms": deadline_ms,
        "allowed": config.allow,
        "beside": config.beside,
        "data": requests.told,
        "shapes": requests.shapes,
    }


def _found(run: Measured, server: Server, fps: float | None, deadline_ms: float | None) -> dict[str, Any]:
    """The part of the report that the times say."""
    latencies = run.samples.latencies_ms
    return {
        "summary": summarise(latencies, deadline_ms),
        "answered": run.samples.answered,
        "throughput_per_s": run.samples.throughput(),
        "utilisation": run.samples.utilisation(fps) if fps else None,
        "stages": summarise_stages(run.times),
        "absent_stages": server.absent,
        "device_stages": run.device_stages,
        "worst": worst_requests(run.samples, run.times),
        "idle_gap": run.idle,
        "soak": run.soak,
        "judge": run.judge,
        "latencies_ms": [round(value, 6) for value in latencies.tolist()],
    }


def _starts(
    subject: Subject, config: BenchConfig, requests: Requests, count: int, progress: Progress
) -> tuple[Start, ...]:
    """New processes that open the model."""
    if not count:
        return ()
    return cold_starts(request_of(subject, requests, config.backend), count, progress)


def _warnings(doubts: tuple[Doubt, ...], config: BenchConfig, run: Measured, device: str) -> tuple[str, ...]:
    busy = run.samples.utilisation(config.fps) if config.fps else None
    lines = [*told(doubts, config.allow), *overload(config.fps, busy)]
    left = len(run.samples.done_ns) - run.samples.answered
    if left:
        lines.append(f"{left} requests still waited when the time was over; they count with the time they had waited")
    if FAKE_DEVICE in device:
        lines.append(f"nothing is a PASS on a {FAKE_DEVICE}")
    return tuple(lines)
