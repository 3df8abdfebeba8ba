"""As many requests as a budget needs, within the time that one has."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from edgekit.latency.arrivals import Arrivals, closed, fixed_rate, offline, poisson
from edgekit.latency.measure import Samples, Timer, joined, measure, unserved, warm_up
from edgekit.latency.stats import effective_samples
from edgekit.reports import Progress, no_progress

_SPARE = 2  # a stall makes samples depend on each other, so that they count for fewer
_LEAST = 100  # with fewer, dependence is seen too late
_MOST = 100_000  # all of them are kept: a megabyte of the report
_OFFLINE = 1000
_SHORTEST_S = 1e-9  # a clock that did not move


@dataclass(frozen=True)
class Plan:
    """`needed` independent samples by quantile; `requests` asks for so many and no others; at most `duration_s`.

    `fps` None is a closed loop: the next request starts when the last one ended. `is_poisson` spreads the requests at
    random, `fps` in the mean; the same `seed` gives the same gaps.
    """

    needed: dict[float, int]
    requests: int | None = None
    fps: float | None = None
    duration_s: float = 60.0
    is_poisson: bool = False
    seed: int = 0

    def arrivals(self, count: int) -> Arrivals:
        """The first `count` requests."""
        if self.fps is None:
            return closed(count)
        return poisson(self.fps, count, self.seed) if self.is_poisson else fixed_rate(self.fps, count)


def sample(
    serve: Callable[[], object], plan: Plan, timer: Timer = Timer(), progress: Progress = no_progress
) -> Samples:
    """Warm up, then measure in rounds until there are enough independent samples or the time is over.

    How long to go on depends on how independent the samples are, never on whether the budget holds: stopping at the
    first PASS would find one by chance. When the time is over, who was due before and still waits is counted too.
    """
    warm_up(serve, timer)
    begin = timer.now()
    serve()
    start, rounds = timer.now(), list[Samples]()
    end_ns = start + round(plan.duration_s * 1e9)
    period_s = 1 / plan.fps if plan.fps else _SHORTEST_S
    # A system that is slower than its frames takes its own time.
    each_s, elapsed_s = max((start - begin) / 1e9, period_s), 0.0
    wanted = plan.requests or max(_LEAST, _SPARE * max(plan.needed.values(), default=0))
    arrivals: Arrivals | None = None
    while True:
        count = max(1, min(wanted, int((plan.duration_s - elapsed_s) / each_s)))
        arrivals = rounds[-1].followed(arrivals, count, timer.now()) if arrivals else plan.arrivals(count)
        rounds.append(measure(serve, arrivals, timer, progress, end_ns))
        samples = joined(rounds)
        done = len(samples.done_ns)
        missing = plan.requests - done if plan.requests else _missing(samples, plan.needed)
        now = timer.now()
        elapsed_s = (now - start) / 1e9
        each_s = max(elapsed_s / done, period_s)
        if now >= end_ns:
            return _with_waiting(rounds, arrivals, (plan.requests or _MOST) - done, end_ns, now)
        if missing <= 0 or (done >= _MOST and not plan.requests):
            return samples
        # Who waits is served while there is time, though it will not be enough for all of it.
        if elapsed_s + each_s > plan.duration_s and not _waits(rounds[-1], arrivals, now):
            return samples
        wanted = missing if plan.requests else min(max(_LEAST, missing), _MOST - done)


def sample_offline(
    serve: Callable[[], object], plan: Plan, timer: Timer = Timer(), progress: Progress = no_progress
) -> Samples:
    """Warm up, then all requests at once: as many as are asked for, else 1000, or what the time is enough for."""
    warm_up(serve, timer)
    begin = timer.now()
    serve()
    start = timer.now()
    each_s = max((start - begin) / 1e9, _SHORTEST_S)
    count = plan.requests or max(1, min(_OFFLINE, int(plan.duration_s / each_s)))
    return measure(serve, offline(count), timer, progress, start + round(plan.duration_s * 1e9))


def _waits(last: Samples, arrivals: Arrivals, now_ns: int) -> bool:
    """Whether the request after the last round, which came as `arrivals`, was due before now."""
    if len(last.done_ns) < arrivals.count:  # the next one is due after the end
        return False
    due = next(last.followed(arrivals, 1, now_ns).intended_ns(now_ns))
    return due is not None and due < now_ns


def _with_waiting(rounds: list[Samples], arrivals: Arrivals, most: int, end_ns: int, now_ns: int) -> Samples:
    """The rounds, the last of which came as `arrivals`, and after them the next `most` requests due before `end_ns`.

    A round that has fewer than it planned tells that no other was due by then. How many come at random until then is
    not known before they are drawn.
    """
    if arrivals.period_ns is None:
        return joined(rounds)
    found = list(rounds)
    while most > 0 and len(found[-1].done_ns) == arrivals.count:
        expected = (end_ns - int(found[-1].intended_ns[-1])) // arrivals.period_ns + 1
        arrivals = found[-1].followed(arrivals, min(most, max(1, expected)), now_ns)
        found.append(unserved(arrivals, end_ns, now_ns))
        most -= len(found[-1].done_ns)
    return joined(found)


def _missing(samples: Samples, needed: dict[float, int]) -> int:
    """How many more requests, if they depend on each other as those so far."""
    latencies = samples.latencies_ms
    worth = {q: effective_samples(latencies, q) for q in needed}
    return max((math.ceil(len(latencies) * (needed[q] / worth[q] - 1)) for q in needed), default=0)
