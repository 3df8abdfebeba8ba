"""What copies and engine take on the device itself: a short series of its own, after the requests that are judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from edgekit.latency.measure import Timer
from edgekit.latency.stages import StageSummary, summarise_stages
from edgekit.reports import Progress, no_progress
from edgekit.runtime.trt_stages import StageEvents, StageTimes

_WARM_UP = 3
_ENOUGH = 800  # both ends of an interval of p99 need 368 independent ones, and dependent ones count for fewer
_MOST_S = 5.0


@dataclass(frozen=True)
class DeviceStages:
    """What `n` inferences took, one after the other, in ms with 95 % confidence.

    `stages` are h2d, compute and d2h by events on the device; where nothing is copied compute alone. `host` is what the
    host's clock says of the same inferences, from submit to completion: never less than the stages together.
    `cuda_graph` says whether the engine was a CUDA graph in them, `cuda_graph_of_requests` whether it was one before.
    """

    n: int
    cuda_graph: str
    cuda_graph_of_requests: str
    stages: dict[str, StageSummary]
    host: StageSummary

    def lines(self, of_requests: StageSummary) -> Iterator[str]:
        """For a person, beside the stage `compute` of the requests, which is by the host's clock."""
        middle, slow = (
            ", ".join(f"{name} {getattr(stage, key).value:.3g}" for name, stage in self.stages.items())
            for key in ("p50_ms", "p99_ms")
        )
        yield f"on the device in ms, {self.n} inferences of their own: p50 {middle}; p99 {slow}"
        yield (
            f"  by the host's clock p50 {self.host.p50_ms.value:.3g}, CUDA graph: {self.cuda_graph}; "
            f"of the requests {of_requests.p50_ms.value:.3g}, CUDA graph: {self.cuda_graph_of_requests}"
        )


@dataclass(frozen=True)
class DeviceSource:
    """Who can be timed on a device: `events` do it, `cuda_graph` tells what the backend makes of CUDA graphs so far.

    `own_graphs`: whether the engine captures graphs by itself, which events around it do not prevent.
    """

    events: StageEvents
    cuda_graph: Callable[[], str]
    own_graphs: bool


def time_on_device(
    infer: Callable[[], float],
    source: DeviceSource,
    most: int | None = None,
    most_s: float = _MOST_S,
    timer: Timer = Timer(),
    progress: Progress = no_progress,
) -> DeviceStages:
    """Time 800 inferences on the device, fewer where there are to be at most `most` or `most_s` or 5 seconds are over.

    `infer` runs one and returns what the host's clock says of it, from submit to completion, in ms. Raises SessionError
    where the device fails.
    """
    usual = source.cuda_graph()
    wanted = min(most or _ENOUGH, _ENOUGH)
    times: list[StageTimes] = []
    host: list[float] = []
    with source.events as events:
        for _ in range(_WARM_UP):
            infer()
        end_ns = timer.now() + round(min(most_s, _MOST_S) * 1e9)
        while not times or (len(times) < wanted and timer.now() < end_ns):
            progress("timing on the device", len(times), wanted)
            host.append(infer())
            times.append(events.times())
    spent = dict(zip(("h2d", "compute", "d2h"), np.array(times, np.float64).T, strict=True))  # None becomes NaN
    return DeviceStages(
        n=len(times),
        cuda_graph=usual if source.own_graphs else "none",
        cuda_graph_of_requests=usual,
        stages=summarise_stages({name: values for name, values in spent.items() if not np.isnan(values).any()}),
        host=summarise_stages({"compute": np.array(host, np.float64)})["compute"],
    )
