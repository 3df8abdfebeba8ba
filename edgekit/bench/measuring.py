"""One run of a server, as its mode wants it, with the state of the machine before and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgekit.bench.judging import Judgement, judged_from_outside
from edgekit.bench.serving import Server
from edgekit.budget import OF_A_PROCESS, Finding, Limit
from edgekit.configs import BenchConfig
from edgekit.latency import (
    Doubt,
    Plan,
    Samples,
    Timer,
    judge_latency,
    judge_overloaded,
    judge_starts,
    sample,
    samples_needed,
)
from edgekit.latency.arrivals import OFFLINE, POISSON, SOAK
from edgekit.latency.cold_start import Start
from edgekit.latency.conditions import Moment, hottest_c, moment
from edgekit.latency.device_stages import DeviceStages, time_on_device
from edgekit.latency.idle import IdleGap, idle_gap
from edgekit.latency.sampling import sample_offline
from edgekit.latency.soak import Soak, sample_soak
from edgekit.latency.stages import Times, stage_times
from edgekit.reports import Progress

# Without a budget, what p99 needs.
_USUAL = {0.99: 299}
# What each process showed, by the key of its limit.
_SHOWN: dict[str, Callable[[tuple[Start, ...]], list[float]]] = {
    "cold_start_s": lambda starts: [start.seconds for start in starts],
    "peak_rss_mib": lambda starts: [start.peak_rss_mib for start in starts],
}


@dataclass(frozen=True)
class Measured:
    """The raw times, and what belongs to them."""

    samples: Samples
    times: Times
    before: Moment
    after: Moment
    idle: IdleGap | None
    soak: Soak | None
    judge: Judgement | None = None
    device_stages: DeviceStages | None = None

    def doubts(self) -> tuple[Doubt, ...]:
        """What the course of the run makes doubtful."""
        judged = self.judge.doubts() if self.judge else ()
        if self.soak is None or not self.soak.drift.is_clear:
            return judged
        found = self.soak.drift
        text = f"it got {abs(found.change):.1%} {'slower' if found.change > 0 else 'faster'} meanwhile"
        return (*judged, Doubt("drift", f"{text} (p {found.p:.2g} over {found.windows} windows)"))


def measured(
    server: Server, mode: str, limits: tuple[Limit, ...], config: BenchConfig, timer: Timer, progress: Progress
) -> Measured:
    """Warm up and send the requests; then, where they are asked for, the ones with pauses and the judge's, and last,
    where a device computes, the ones that are timed there."""
    fps, soak = config.fps, None
    plan = Plan(samples_needed(limits) or _USUAL, config.requests, fps, config.duration, mode == POISSON, config.seed)
    before = moment()
    if mode == SOAK:
        assert fps is not None  # asked.py has seen to it
        samples, soak = sample_soak(server, fps, config.duration, timer, progress, hottest_c)
    elif mode == OFFLINE:
        samples = sample_offline(server, plan, timer, progress)
    else:
        samples = sample(server, plan, timer, progress)
    after = moment()
    times = stage_times(samples, server.stamps, server.stages)
    idle = idle_gap(server, config.idle_gap, timer=timer, progress=progress) if config.idle_gap else None
    judge = None
    if config.judge:
        progress("LoadGen judges", 0, 0)
        judge = judged_from_outside(server, mode, limits, config, samples)
    on_device = None
    if server.on_device:
        on_device = time_on_device(server.infer, server.on_device, config.requests, config.duration, timer, progress)
    return Measured(samples, times, before, after, idle, soak, judge, on_device)


def judged(
    limits: tuple[Limit, ...], samples: Samples, fps: float | None, starts: tuple[Start, ...]
) -> tuple[Finding, ...]:
    """A finding for each limit."""
    overloaded = fps is not None and samples.utilisation(fps) >= 1
    found = []
    for limit in limits:
        if limit.key in OF_A_PROCESS:
            found.append(judge_starts(limit, _SHOWN[limit.key](starts)))
        else:
            finding = judge_latency(limit, samples.latencies_ms, 1e3 / fps if fps else None)
            found.append(judge_overloaded(finding) if overloaded else finding)
    return tuple(found)
