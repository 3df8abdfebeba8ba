"""Is it in time? Requests at a camera's rate or back to back, judged under the conditions that they met."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.budget import Finding, Limit
from edgekit.configs import ValidateConfig
from edgekit.data import Samples
from edgekit.latency import (
    Doubt,
    LatencySummary,
    Plan,
    judge_latency,
    judge_overloaded,
    sample,
    samples_needed,
    summarise,
)
from edgekit.latency.conditions import Conditions, machine, moment
from edgekit.latency.doubts import settle, told
from edgekit.latency.verdict import overload
from edgekit.reports import Progress
from edgekit.validate.subject import Subject, serving


@dataclass(frozen=True)
class LatencyReport:
    """All raw latencies in ms are kept, in their order, so that anyone can compute anything from them.

    The first `answered` were answered before the time was over; the others count with the time that they had waited.
    `utilisation` is the share of the time between frames that serving takes: from 1 on frames pile up. `doubts` are
    about the conditions, those in `allowed` among them.
    """

    mode: str
    fps: float | None
    deadline_ms: float | None
    utilisation: float | None
    shapes: dict[str, list[int]]
    summary: LatencySummary
    answered: int
    environment: Conditions
    doubts: tuple[Doubt, ...]
    allowed: tuple[str, ...]
    latencies_ms: list[float]

    def warnings(self) -> tuple[str, ...]:
        """What makes the figures doubtful, and that frames pile up where they do."""
        return (*told(self.doubts, self.allowed), *overload(self.fps, self.utilisation))


def judged_latency(
    subject: Subject, config: ValidateConfig, request: Samples, limits: tuple[Limit, ...], progress: Progress
) -> tuple[LatencyReport, dict[Limit, Finding]]:
    """Send `request` again and again, and judge the limits by what it took."""
    plan = Plan(samples_needed(limits), config.requests, config.fps, config.duration)
    found = machine()
    with serving(subject, config.backend, request) as served:
        before = moment()
        measured = sample(served.request, plan, progress=progress)
        after = moment()
    latencies, deadline_ms = measured.latencies_ms, 1e3 / config.fps if config.fps else None
    utilisation = measured.utilisation(config.fps) if config.fps else None
    conditions = Conditions(found, before, after, subject.digests(served.backend, config.backend))
    report = LatencyReport(
        mode="fixed-rate" if config.fps else "closed",
        fps=config.fps,
        deadline_ms=deadline_ms,
        utilisation=utilisation,
        shapes={name: list(array.shape) for name, array in request.inputs.items()},
        summary=summarise(latencies, deadline_ms),
        answered=measured.answered,
        environment=conditions,
        doubts=conditions.doubts(on_gpu=served.backend != "ort"),
        allowed=config.allow,
        latencies_ms=[round(value, 6) for value in latencies.tolist()],
    )
    judged = [judge_latency(limit, latencies, deadline_ms) for limit in limits]
    if utilisation is not None and utilisation >= 1:
        judged = [judge_overloaded(finding) for finding in judged]
    return report, dict(zip(limits, settle(judged, report.doubts, config.allow), strict=True))
