"""The slowest requests one by one: which they were, when, and where their time went."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.latency.measure import Samples
from edgekit.latency.stages import STAGES, Times

WORST = 10


@dataclass(frozen=True)
class WorstRequest:
    """Request `index`, from 0 on, which was due `at_s` seconds after the first, None where nobody knows; times in ms.

    `stages` by name, in the order of the work; none for a request that still waited when the time was over.
    """

    index: int
    at_s: float | None
    latency_ms: float
    stages: dict[str, float]


def slowest(latencies_ms: npt.NDArray[np.float64], count: int = WORST) -> list[int]:
    """The indices of the `count` largest of latencies [n] in ms, the largest first; of equal ones the earlier first."""
    order: list[int] = np.argsort(-latencies_ms, kind="stable")[:count].tolist()
    return order


def worst_latencies(latencies_ms: npt.NDArray[np.float64], count: int = WORST) -> tuple[WorstRequest, ...]:
    """The slowest `count` of latencies [n] in ms alone, of which neither when nor where the time went is known."""
    return tuple(
        WorstRequest(index, None, round(float(latencies_ms[index]), 6), {}) for index in slowest(latencies_ms, count)
    )


def worst_requests(samples: Samples, times: Times, count: int = WORST) -> tuple[WorstRequest, ...]:
    """The slowest `count` requests, the slowest first; `times` are those of `stage_times`."""
    latencies = samples.latencies_ms
    return tuple(
        WorstRequest(
            index=index,
            at_s=round(float(samples.intended_ns[index] - samples.intended_ns[0]) / 1e9, 6),
            latency_ms=round(float(latencies[index]), 6),
            stages=_stages(times, index) if index < samples.answered else {},
        )
        for index in slowest(latencies, count)
    )


def _stages(times: Times, index: int) -> dict[str, float]:
    return {name: round(float(times[name][index]), 6) for name in STAGES if name in times}
