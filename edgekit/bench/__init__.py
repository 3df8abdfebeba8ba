"""How fast is a model here, where does the time go, and does a budget hold?"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from edgekit.bench.asked import limits_of, mode_of, starts_of
from edgekit.bench.measuring import Measured, judged, measured
from edgekit.bench.papers import check_all_apart, papers
from edgekit.bench.report import BenchReport
from edgekit.bench.requests import Requests, find_requests
from edgekit.bench.serving import Server, serving
from edgekit.bench.text import report_lines
from edgekit.budget import FAKE_DEVICE, doubt_fakes, verdict_of
from edgekit.configs import BenchConfig, ValidateConfig
from edgekit.files import json_bytes, sha256_of, written_aside
from edgekit.latency import Doubt, Timer, summarise
from edgekit.latency.arrivals import SOAK
from edgekit.latency.cold_start import Request, Start, cold_starts
from edgekit.latency.conditions import Conditions, machine
from edgekit.latency.doubts import settle
from edgekit.latency.stages import summarise_stages
from edgekit.reports import Progress, Stopwatch, no_progress, peak_rss_mib
from edgekit.rewrite.reading import read_onnx_file
from edgekit.runtime.choice import choose
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
    ORT_DISABLE_ALL, on ready arrays. Without a budget the verdict is `measured`. Raises UsageError for what does not go
    together, DataError, ModelError, RecipeError, IntegrityError or OutputError, TargetError for a backend that is not
    there and for BF16 without a GPU, SessionError for a model that fails; a broken budget is no error but a verdict.
    """
    asked = papers(config)
    check_all_apart(source, [out, *(path for path, _ in asked)])
    with ExitStack() as files:
        partial = files.enter_context(written_aside(out))
        beside = [(files.enter_context(written_aside(path)), writer) for path, writer in asked]
        report, run = _report(source, out, config, progress, timer)
        for aside, writer in beside:
            writer(aside, report, run)
        partial.write_bytes(json_bytes(report.to_json()))
    return report


def _report(
    source: Path, out: Path, config: BenchConfig, progress: Progress, timer: Timer
) -> tuple[BenchReport, Measured]:
    watch = Stopwatch()
    mode = mode_of(config)
    limits = limits_of(config, mode)
    subject = open_subject(source, ValidateConfig(recipe=config.recipe, backend=config.backend))
    check_timeable(subject, config.backend)
    requests = find_requests(subject, config.data)
    found = machine()
    starts = _starts(subject, config, requests, starts_of(config, limits), progress)
    with serving(subject, config.backend, requests) as server:
        server = replace(server, now=timer.now)
        run = measured(server, mode, limits, config, timer, progress)
    conditions = Conditions(found, run.before, run.after, _digests(subject, server, config.backend))
    doubts = (*requests.doubts, *run.doubts(), *conditions.doubts(on_gpu=server.backend != "ort", soaked=mode == SOAK))
    findings = doubt_fakes(settle(judged(limits, run.samples, config.fps, starts), doubts, config.allow), server.device)
    verdict, exit_code = verdict_of(findings) if limits else ("measured", 0)
    ran = f"{server.backend}, {server.device}"
    deadline_ms = 1e3 / config.fps if config.fps else None
    report = BenchReport(
        path=out,
        seconds=watch.seconds(),
        peak_rss_mib=median(start.peak_rss_mib for start in starts) if starts else peak_rss_mib(),
        warnings=_warnings(doubts, config, run, server.device),
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
        samples_file=config.samples,
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
        "idle_gap": run.idle,
        "soak": run.soak,
        "latencies_ms": [round(value, 6) for value in latencies.tolist()],
    }


def _starts(
    subject: Subject, config: BenchConfig, requests: Requests, count: int, progress: Progress
) -> tuple[Start, ...]:
    """New processes that open the model; of pictures they get what these become, ready."""
    if not count:
        return ()
    model = subject.path if subject.manifest else read_onnx_file(subject.onnx).serialized
    outputs = tuple(spec.name for spec in subject.outputs)
    return cold_starts(Request(model, config.backend, requests.arrays[0], outputs), count, progress)


def _digests(subject: Subject, server: Server, backend: str) -> dict[str, str]:
    """The SHA-256 of the ONNX, and of the engine where one ran."""
    digests = {"model": sha256_of(subject.onnx)}
    if subject.manifest is not None and server.backend != "ort":
        engines = [choice.engine for choice in choose(subject.manifest, backend) if choice.backend == server.backend]
        if engines and engines[0] is not None:
            digests["engine"] = subject.manifest.files[engines[0].file].sha256
    return digests


def _warnings(doubts: tuple[Doubt, ...], config: BenchConfig, run: Measured, device: str) -> tuple[str, ...]:
    lines = [doubt.text if doubt.name in config.allow else str(doubt) for doubt in doubts]
    if config.fps is not None and (used := run.samples.utilisation(config.fps)) >= 1:
        lines.append(
            f"requests come faster than they are served: {config.fps:g} a second take {used:.0%} of the time, and the "
            "queue grows without end"
        )
    left = len(run.samples.done_ns) - run.samples.answered
    if left:
        lines.append(f"{left} requests still waited when the time was over; they count with the time they had waited")
    if FAKE_DEVICE in device:
        lines.append(f"nothing is a PASS on a {FAKE_DEVICE}")
    return tuple(lines)
