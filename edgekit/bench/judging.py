"""An outside judge beside our own measurement: LoadGen sends requests to the same server, and both clocks time them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgekit.budget import Limit
from edgekit.configs import BenchConfig
from edgekit.errors import UsageError
from edgekit.latency import Doubt, Samples
from edgekit.latency.arrivals import CLOSED, OFFLINE, POISSON
from edgekit.latency.loadgen import SCENARIOS, LoadGenPlan, LoadGenReport, import_loadgen, judge_with_loadgen
from edgekit.latency.stats import QUANTILES

_SCENARIOS = {CLOSED: "single-stream", POISSON: "server", OFFLINE: "offline"}
_Q = 0.99
_BOUND = "p99 with 99 % confidence at most"
# What LoadGen's early stopping needs to bound p99.
_NEEDED = 662
# What both clocks may be apart, as a fraction and in ms, and besides what LoadGen's way through Python takes, which it
# counts and we do not: 5 to 10 us of a query; in Offline the list of all of them, once; in Server the waking of its own
# thread, which on a machine whose cores are all at work comes late, and a late query is late for it alone.
_RELATIVE = {"single-stream": 0.01, "offline": 0.01, "server": 0.10}
_LEAST_MS = 0.005
_WAY_MS = {"single-stream": 0.010, "offline": 0.25, "server": 0.25}


@dataclass(frozen=True)
class Clocks:
    """One figure of the same queries in ms, by the judge's clock and by ours, which `may_differ_ms`.

    Ours is infinite where there are too few queries for a bound.
    """

    judge_ms: float
    own_ms: float
    may_differ_ms: float

    @property
    def agree(self) -> bool:
        """Whether both are the same, but for what is allowed."""
        return abs(self.judge_ms - self.own_ms) <= self.may_differ_ms


@dataclass(frozen=True)
class Judgement:
    """What LoadGen says of `queries` queries in one of its scenarios, and what our clock says of the same ones.

    `clocks` are p50_ms, p90_ms and p99_ms, each at LoadGen's rank, floor(n q) from 0 on. `early_stopping` bounds p99
    with 99 % confidence; None outside of SingleStream, and where there are too few queries. `per_s` is the throughput.
    `valid` is LoadGen's verdict on its own run, `errors` are its own words; `agrees` is ours on both clocks.
    """

    judge: str
    scenario: str
    queries: int
    valid: bool
    per_s: float | None
    clocks: dict[str, Clocks]
    early_stopping: Clocks | None
    errors: tuple[str, ...]
    agrees: bool

    def apart(self) -> dict[str, Clocks]:
        """The figures on which the clocks disagree, by name."""
        return {
            name: clocks for name, clocks in _compared(self.clocks, self.early_stopping).items() if not clocks.agree
        }

    def lines(self) -> list[str]:
        """For a person: both clocks, side by side."""
        verdict = "VALID" if self.valid else "INVALID"
        rate = "" if self.per_s is None else f", {self.per_s:.4g} a second"
        told = [f"LoadGen {SCENARIOS[self.scenario]} of {self.queries} queries: {verdict}{rate}"]
        told += [f"  {_named(name, clocks)}" for name, clocks in self.clocks.items()]
        if self.early_stopping is not None:
            told.append(f"  {_named(_BOUND, self.early_stopping)}")
        if not self.valid and self.queries < _NEEDED:
            told.append(f"  INVALID at fewer than {_NEEDED} queries: --requests {_NEEDED}, or a longer --duration")
        told += [f"  LoadGen: {error}" for error in self.errors]
        return [*told, "  both clocks agree" if self.agrees else "  the clocks do not agree"]

    def doubts(self) -> tuple[Doubt, ...]:
        """One where both clocks disagree: which of them is right, nobody knows."""
        apart = "; ".join(_named(name, clocks) for name, clocks in self.apart().items())
        return (Doubt("judge-disagrees", f"LoadGen times the same queries otherwise: {apart}"),) if apart else ()


def check_judge(config: BenchConfig, mode: str) -> None:
    """Raise UsageError where LoadGen has no scenario for the mode, TargetError where it is not installed."""
    if config.judge is None:
        return
    if mode not in _SCENARIOS:
        known = ", ".join(_SCENARIOS)
        raise UsageError(f"expected a mode that --judge loadgen has, {known}, found {mode}", f"--mode {POISSON}")
    import_loadgen()


def judged_from_outside(
    serve: Callable[[], object], mode: str, limits: tuple[Limit, ...], config: BenchConfig, own: Samples
) -> Judgement:
    """Let LoadGen send about as many requests as were measured, `own`, so that it takes about as long.

    Server's verdict is about p99 within the budget's p99_ms, if there is one. What `serve` raises is raised.
    """
    scenario = _SCENARIOS[mode]
    within_ms = next((limit.value for limit in limits if limit.key == "p99_ms"), None)
    plan = LoadGenPlan(scenario, _queries(config, own), config.fps, _Q, within_ms if mode == POISSON else None)
    return _judgement(judge_with_loadgen(serve, plan))


def _queries(config: BenchConfig, own: Samples) -> int:
    """As many as were answered; where no number was asked for, what early stopping needs, if the time is enough."""
    if config.requests:
        return own.answered
    return max(own.answered, int(min(_NEEDED, own.throughput() * config.duration)))


def _judgement(report: LoadGenReport) -> Judgement:
    own = sorted(report.own.latencies_ms.tolist())
    clocks = {}
    for name, q in QUANTILES.items():
        if q <= _Q:
            ranked = own[min(int(q * len(own)), len(own) - 1)]
            clocks[name] = _clocks(report.scenario, report.quantiles_ms[q], ranked)
    bound = report.early_stopping_ms
    early_stopping = None if bound is None else _clocks(report.scenario, bound, report.own_early_stopping_ms)
    return Judgement(
        judge="loadgen",
        scenario=report.scenario,
        queries=report.queries,
        valid=report.valid,
        per_s=report.per_s,
        clocks=clocks,
        early_stopping=early_stopping,
        errors=report.errors,
        agrees=all(item.agree for item in _compared(clocks, early_stopping).values()),
    )


def _compared(clocks: dict[str, Clocks], early_stopping: Clocks | None) -> dict[str, Clocks]:
    """All figures that both clocks have: the quantiles, and the bound where there is one."""
    return clocks if early_stopping is None else {**clocks, _BOUND: early_stopping}


def _clocks(scenario: str, judge_ms: float, own_ms: float) -> Clocks:
    allowed = max(_RELATIVE[scenario] * own_ms, _LEAST_MS) + _WAY_MS[scenario]
    return Clocks(judge_ms, own_ms, allowed)


def _named(name: str, clocks: Clocks) -> str:
    return f"{name.removesuffix('_ms')} {_both(clocks)}"


def _both(clocks: Clocks) -> str:
    apart = f"{1e3 * (clocks.judge_ms - clocks.own_ms):+.1f} us"
    return f"{clocks.judge_ms:.4g} ms, by our clock {clocks.own_ms:.4g} ms ({apart})"
