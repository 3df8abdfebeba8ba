"""As many requests as a budget needs, within the time that one has."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgekit.latency.arrivals import closed, fixed_rate
from edgekit.latency.measure import Samples, Timer, measure, warm_up
from edgekit.latency.stats import effective_samples
from edgekit.reports import Progress, no_progress

_SPARE = 2  # a stall makes samples depend on each other, so that they count for fewer
_LEAST = 100  # with fewer, dependence is seen too late
_MOST = 100_000  # all of them are kept: a megabyte of the report
_SHORTEST_S = 1e-9  # a clock that did not move


@dataclass(frozen=True)
class Plan:
    """`needed` independent samples by quantile; `requests` asks for so many and no others; at most `duration_s`.

    `fps` None is a closed loop: the next request starts when the last one ended.
    """

    needed: dict[float, int]
    requests: int | None = None
    fps: float | None = None
    duration_s: float = 60.0


def sample(
    serve: Callable[[], object], plan: Plan, timer: Timer = Timer(), progress: Progress = no_progress
) -> Samples:
    """Warm up, then measure in rounds until there are enough independent samples or the time is over.

    How long to go on depends on how independent the samples are, never on whether the budget holds: stopping at the
    first PASS would find one by chance.
    """
    warm_up(serve, timer)
    begin = timer.now()
    serve()
    start, rounds = timer.now(), []
    end_ns = start + round(plan.duration_s * 1e9)
    period_s = 1 / plan.fps if plan.fps else _SHORTEST_S
    # A system that is slower than its frames takes its own time.
    each_s, elapsed_s = max((start - begin) / 1e9, period_s), 0.0
    wanted = plan.requests or max(_LEAST, _SPARE * max(plan.needed.values(), default=0))
    due_ns = None
    while True:
        count = max(1, min(wanted, int((plan.duration_s - elapsed_s) / each_s)))
        arrivals = fixed_rate(plan.fps, count, due_ns) if plan.fps else closed(count)
        rounds.append(measure(serve, arrivals, timer, progress, end_ns))
        samples = _joined(rounds)
        done = len(samples.done_ns)
        missing = plan.requests - done if plan.requests else _missing(samples, plan.needed)
        elapsed_s = (timer.now() - start) / 1e9
        each_s = max(elapsed_s / done, period_s)
        if missing <= 0 or elapsed_s + each_s > plan.duration_s or (done >= _MOST and not plan.requests):
            return samples
        wanted = missing if plan.requests else min(max(_LEAST, missing), _MOST - done)
        due_ns = _next_due(samples, arrivals.period_ns, timer.now())


def _next_due(samples: Samples, period_ns: int | None, now_ns: int) -> int | None:
    """The camera keeps its beat between rounds: who waits still waits, and an idle system misses the beats till now."""
    if period_ns is None:
        return None
    due_ns = int(samples.intended_ns[-1]) + period_ns
    idle = int(samples.done_ns[-1]) <= due_ns
    return due_ns + max(0, -(-(now_ns - due_ns) // period_ns)) * period_ns if idle else due_ns


def _missing(samples: Samples, needed: dict[float, int]) -> int:
    """How many more requests, if they depend on each other as those so far."""
    latencies = samples.latencies_ms
    worth = {q: effective_samples(latencies, q) for q in needed}
    return max((math.ceil(len(latencies) * (needed[q] / worth[q] - 1)) for q in needed), default=0)


def _joined(rounds: list[Samples]) -> Samples:
    return Samples(
        np.concatenate([item.intended_ns for item in rounds]), np.concatenate([item.done_ns for item in rounds])
    )
