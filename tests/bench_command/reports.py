"""Reports of runs that took what a test says, without the time to run them: numbers made for the test alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.bench.measuring import Measured
from edgekit.bench.report import BenchReport
from edgekit.budget import parse_budget, verdict_of
from edgekit.latency import Samples, judge_latency, summarise
from edgekit.latency.conditions import Conditions, Machine, Moment
from edgekit.latency.environment import Environment
from edgekit.latency.stages import stage_times, summarise_stages
from edgekit.latency.worst import worst_requests

MS = 1_000_000
HOST = Environment("x86_64", "a CPU of this test", 8, 0.1, "performance")
NONE = dict.fromkeys(item.name for item in fields(Machine))
MACHINE = Machine(**NONE | {"environment": HOST, "edgekit": "0", "system": "a system", "python": "3", "packages": {}})
MACHINE = replace(MACHINE, gpus=(), gpu_users=())
MOMENT = Moment(0.1, {}, None, {}, {}, ())
CONDITIONS = Conditions(MACHINE, MOMENT, MOMENT, {"model": "0" * 64})


def made(
    compute_ms: Sequence[float], budget: str = "", fps: float = 100.0, answered: int | None = None, **changes: Any
) -> tuple[BenchReport, Measured]:
    """A report of requests at `fps`, each computed for so many ms after 0.5 ms of wait and 0.25 ms of pre; none queues.

    From `answered` on they still waited when all was over. `changes` are fields of the report.
    """
    count = len(compute_ms)
    answered = count if answered is None else answered
    intended = 5_000 * MS + np.arange(count) * round(1e9 / fps)
    begun = intended + MS // 2
    ready = begun + MS // 4
    done = ready + np.round(np.asarray(compute_ms) * MS).astype(np.int64)
    stamps = list(zip(begun.tolist(), ready.tolist(), done.tolist(), strict=True))[:answered]
    samples = Samples(intended, done, answered)
    times = stage_times(samples, stamps, ("pre", "compute"))
    deadline_ms = 1e3 / fps
    latencies = samples.latencies_ms
    findings = tuple(judge_latency(limit, latencies, deadline_ms) for limit in (parse_budget(budget) if budget else ()))
    verdict, code = verdict_of(findings) if findings else ("measured", 0)
    values: dict[str, Any] = dict.fromkeys(item.name for item in fields(BenchReport)) | {
        "path": Path("a.bench.json"),
        "seconds": 1.0,
        "peak_rss_mib": 90.0,
        "warnings": (),
        "source": Path("a.onnx"),
        "verdict": f"{verdict} (ort, cpu)",
        "exit_code": code,
        "backend": "ort",
        "device": "cpu",
        "reason": "an ONNX file",
        "mode": "fixed-rate",
        "fps": fps,
        "seed": 0,
        "duration_s": 60.0,
        "deadline_ms": deadline_ms,
        "summary": summarise(latencies, deadline_ms),
        "answered": answered,
        "throughput_per_s": samples.throughput(),
        "utilisation": samples.utilisation(fps),
        "stages": summarise_stages(times),
        "absent_stages": {"h2d": "it is a CPU", "d2h": "it is a CPU"},
        "worst": worst_requests(samples, times),
        "starts": (),
        "findings": findings,
        "doubts": (),
        "allowed": (),
        "beside": (),
        "company": (),
        "environment": CONDITIONS,
        "data": "numbers of a test",
        "shapes": {"x": (1, 3)},
        "latencies_ms": latencies.tolist(),
    }
    run = Measured(samples, times, MOMENT, MOMENT, None, None)
    return BenchReport(**values | changes), run
