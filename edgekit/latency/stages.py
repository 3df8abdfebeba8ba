"""Where the time of a request goes: waiting, making the input, computing, making the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.latency.measure import Samples
from edgekit.latency.stats import Interval, effective_samples, quantile

WAIT = "wait"
STAGES = (WAIT, "pre", "h2d", "compute", "d2h", "post")
Times = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class StageSummary:
    """One stage of all requests, in ms; quantiles with 95 % confidence."""

    mean_ms: float
    p50_ms: Interval
    p90_ms: Interval
    p99_ms: Interval


def stage_times(samples: Samples, stamps: Sequence[tuple[int, ...]], names: tuple[str, ...]) -> Times:
    """By stage, float64 [answered] in ms.

    `stamps` are those of the last calls, of which the answered ones are the last: when each began, and when each of
    `names` was over, in ns. `wait` is from the intended start to the beginning.
    """
    count = samples.answered
    edges = np.array(stamps[-count:], np.int64).reshape(count, len(names) + 1)
    spent = np.diff(edges, axis=1) / 1e6
    waited = (edges[:, 0] - samples.intended_ns[:count]) / 1e6
    return {WAIT: waited, **{name: spent[:, index] for index, name in enumerate(names)}}


def summarise_stages(times: Times) -> dict[str, StageSummary]:
    """Each stage by its name, in the order of the work."""
    return {name: _summary(times[name]) for name in STAGES if name in times}


def absent_stages(reasons: Mapping[str, str]) -> list[tuple[str, str]]:
    """Those that are not there and why, those of one reason together."""
    named: dict[str, list[str]] = {}
    for name in STAGES:
        if name in reasons:
            named.setdefault(reasons[name], []).append(name)
    return [(", ".join(names), why) for why, names in named.items()]


def _summary(values: npt.NDArray[np.float64]) -> StageSummary:
    p50, p90, p99 = (quantile(values, q, effective_samples(values, q)) for q in (0.5, 0.9, 0.99))
    return StageSummary(float(values.mean()), p50, p90, p99)
