"""An outside judge: MLCommons' LoadGen sends the queries and times them, and we time the very same ones.

LoadGen (github.com/mlcommons/inference, loadgen/) is the load generator of MLPerf: an own schedule, an own clock, own
quantiles, and an early-stopping rule which is an order-statistic bound at 99 %. What it says of a service has to be
what we say. SingleStream is a closed loop, Offline has all requests due at once, Server is Poisson arrivals whose
latencies count from their scheduled times, so that a stall counts for every query that waited.

Its bound is one query further out than the exact one of `edgekit.latency.stats`: for p99 it asks for 662 queries, where
459 without a slower one would do (results.cc: of the t that may be over the limit, it keeps one).
"""

from __future__ import annotations

import json
import math
import queue
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import TargetError, UsageError
from edgekit.latency.measure import Samples
from edgekit.latency.stats import binomial_quantile

SCENARIOS = {"single-stream": "SingleStream", "offline": "Offline", "server": "Server"}
REPORTED = (0.5, 0.9, 0.95, 0.97, 0.99, 0.999)
_DETAILS = "mlperf_log_detail.txt"
_MARK = ":::MLLOG "
_EARLY_STOPPING = 0.99  # its confidence, fixed in LoadGen's results.cc
_DEADLINE_NS = 10**12  # without a deadline nothing is late
# What LoadGen calls an error where it ends after as many queries as it was told.
_EXPECTED_END = "Max query count reached"


@dataclass(frozen=True)
class LoadGenPlan:
    """What LoadGen is asked for.

    `fps` is Server's mean rate of arrivals, a second. `q` is the quantile that early stopping and Server's
    constraint are about, `deadline_ms` that constraint.
    """

    scenario: str
    queries: int = 1000
    fps: float | None = None
    q: float = 0.99
    deadline_ms: float | None = None


@dataclass(frozen=True)
class LoadGenReport:
    """What LoadGen says, and in `own` our times of the same queries; all latencies in ms.

    `quantiles_ms` has those of `REPORTED`. `early_stopping_ms` bounds the q-quantile with 99 % confidence; None where
    there are too few queries, and outside of SingleStream. `per_s` is the throughput, of Offline the very result.
    `errors` are LoadGen's own words.
    """

    scenario: str
    q: float
    queries: int
    valid: bool
    quantiles_ms: dict[float, float]
    early_stopping_ms: float | None
    per_s: float | None
    errors: tuple[str, ...]
    own: Samples

    @property
    def own_early_stopping_ms(self) -> float:
        """The bound of early stopping by LoadGen's rule from our times; infinite where there are too few."""
        exact = binomial_quantile(self.queries, self.q, _EARLY_STOPPING) + 1  # the rank, from 1 on
        return float(np.sort(self.own.latencies_ms)[exact]) if exact < self.queries else math.inf


def judge_with_loadgen(serve: Callable[[], object], plan: LoadGenPlan) -> LoadGenReport:
    """Let LoadGen send `plan.queries` queries, each of which calls `serve` once, in this thread; one judge at a time.

    What LoadGen writes goes to a temporary folder. An error of `serve` ends the serving and is raised when LoadGen has
    ended, which Server does no earlier than its schedule says. Raises TargetError where LoadGen is not installed,
    UsageError for a plan that is none.
    """
    loadgen = import_loadgen()
    _check(plan)
    desk = _Desk(loadgen, serve)
    with tempfile.TemporaryDirectory(prefix="edgekit-loadgen-") as folder:
        sut = loadgen.ConstructSUT(desk.queue if plan.scenario == "server" else desk.serve, lambda: None)
        library = loadgen.ConstructQSL(1, 1, lambda _: None, lambda _: None)

        def start() -> None:
            loadgen.StartTestWithLogSettings(
                sut, library, _settings(loadgen, plan), _logging(loadgen, Path(folder)), str(Path(folder) / "none")
            )

        try:
            if plan.scenario == "server":
                desk.serve_queue(start)
            else:
                start()
        finally:
            loadgen.DestroyQSL(library)
            loadgen.DestroySUT(sut)
        if desk.error is not None:
            raise desk.error
        return _report(plan, _told(Path(folder) / _DETAILS), desk.samples())


class _Desk:
    """Takes LoadGen's queries, serves them and notes when each was issued and done.

    LoadGen is C++: no exception may go through it, and every query has to be completed, or it waits for ever.
    """

    def __init__(self, loadgen: Any, serve: Callable[[], object]) -> None:
        self._loadgen, self._serve = loadgen, serve
        self._issued: list[int] = []
        self._done: list[int] = []
        self._waiting: queue.SimpleQueue[tuple[int, list[Any]] | None] = queue.SimpleQueue()
        self.error: BaseException | None = None

    def serve(self, queries: list[Any]) -> None:
        """Serve at once: LoadGen calls us in the thread that started it."""
        self._answer(time.perf_counter_ns(), queries)

    def queue(self, queries: list[Any]) -> None:
        """Queue for the thread that owns the session, so that LoadGen can issue the next when it is due."""
        self._waiting.put((time.perf_counter_ns(), queries))

    def serve_queue(self, start: Callable[[], None]) -> None:
        """Run LoadGen by `start` in a thread of its own, and serve in this one until it has ended."""

        def run() -> None:
            try:
                start()
            finally:
                self._waiting.put(None)

        thread = threading.Thread(target=run, name="loadgen")
        thread.start()
        while True:
            try:
                while (item := self._waiting.get()) is not None:
                    self._answer(*item)
                thread.join()
                return
            except BaseException as error:  # Ctrl-C while nothing was to be done
                self.error = self.error or error

    def samples(self) -> Samples:
        """Of each query, int64 [n] each: when it was issued and when it was done."""
        return Samples(np.array(self._issued, np.int64), np.array(self._done, np.int64))

    def _answer(self, issued_ns: int, queries: list[Any]) -> None:
        for each in queries:
            response = [self._loadgen.QuerySampleResponse(each.id, 0, 0)]
            if self.error is None:
                try:
                    self._serve()
                except BaseException as error:
                    self.error = error
            self._issued.append(issued_ns)
            self._done.append(time.perf_counter_ns())
            self._loadgen.QuerySamplesComplete(response)


def import_loadgen() -> Any:
    """LoadGen's module; TargetError where it is not installed."""
    try:
        import mlperf_loadgen
    except ImportError as error:
        line = "expected LoadGen, the package mlcommons-loadgen, for an outside judge, found none"
        raise TargetError(line, "pip install mlcommons-loadgen") from error
    return mlperf_loadgen


def _check(plan: LoadGenPlan) -> None:
    if plan.scenario not in SCENARIOS:
        raise UsageError(f"expected a scenario of {', '.join(SCENARIOS)}, found {plan.scenario!r}")
    if plan.queries < 1 or not 0 < plan.q < 1:
        raise UsageError(f"expected a query or more and q in 0..1, found {plan.queries} and {plan.q:g}")
    if plan.scenario == "server" and not (plan.fps and plan.fps > 0):
        raise UsageError("expected a mean rate of Server's arrivals, found none", "--fps")


def _settings(loadgen: Any, plan: LoadGenPlan) -> Any:
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, SCENARIOS[plan.scenario])
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = settings.max_duration_ms = 0
    settings.min_query_count = settings.max_query_count = plan.queries
    settings.single_stream_target_latency_percentile = settings.server_target_latency_percentile = plan.q
    settings.server_target_qps = plan.fps or 1.0
    settings.server_target_latency_ns = round((plan.deadline_ms or 0) * 1e6) or _DEADLINE_NS
    return settings


def _logging(loadgen: Any, folder: Path) -> Any:
    output = loadgen.LogOutputSettings()
    output.outdir = str(folder)
    output.copy_summary_to_stdout = False
    logging = loadgen.LogSettings()
    logging.log_output, logging.enable_trace = output, False
    return logging


def _told(details: Path) -> list[dict[str, Any]]:
    """The lines of LoadGen's detailed log, which has the figures of its summary as JSON."""
    lines = details.read_text().splitlines()
    return [json.loads(line.removeprefix(_MARK)) for line in lines if line.startswith(_MARK)]


def _report(plan: LoadGenPlan, told: list[dict[str, Any]], own: Samples) -> LoadGenReport:
    found = {item["key"]: item["value"] for item in told}
    rates = ("result_samples_per_second", "result_completed_samples_per_sec", "result_qps_with_loadgen_overhead")
    bound = found.get("early_stopping_latency_ss") or 0
    wrong = [str(item["value"]) for item in told if item["metadata"]["is_error"]]
    return LoadGenReport(
        scenario=plan.scenario,
        q=plan.q,
        queries=len(own.done_ns),
        valid=found.get("result_validity") == "VALID",
        quantiles_ms={q: found[f"result_{100 * q:.2f}_percentile_latency_ns"] / 1e6 for q in REPORTED},
        early_stopping_ms=bound / 1e6 if bound else None,
        per_s=next((float(found[key]) for key in rates if key in found), None),
        errors=tuple(error for error in wrong if _EXPECTED_END not in error),
        own=own,
    )
