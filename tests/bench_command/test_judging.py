"""An outside judge beside our own measurement: both clocks on the same queries, in the report and in the lines."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest

from edgekit.bench import bench
from edgekit.bench.judging import Clocks, Judgement, check_judge, judged_from_outside
from edgekit.budget import parse_budget
from edgekit.configs import MODES, BenchConfig
from edgekit.errors import TargetError, UsageError
from edgekit.latency import Samples
from edgekit.latency.doubts import DOUBTS, settle
from edgekit.latency.loadgen import LoadGenPlan, LoadGenReport
from edgekit.latency.verdict import judge_latency

MS = 1_000_000


def samples(latencies_ms, answered: int | None = None, every_ms: float = 10.0) -> Samples:
    """Requests that came at a steady beat."""
    intended = (np.arange(len(latencies_ms)) * every_ms * MS).astype(np.int64)
    return Samples(intended, intended + (np.array(latencies_ms) * MS).astype(np.int64), answered)


@pytest.fixture
def loadgen(monkeypatch):
    """`loadgen(own, later_ms)` puts a LoadGen in place whose clock says so much more than ours; returns its plans."""
    plans: list[LoadGenPlan] = []

    def put(own: Samples, later_ms: float, **more) -> list[LoadGenPlan]:
        def judge(serve, plan: LoadGenPlan) -> LoadGenReport:
            plans.append(plan)
            ordered = np.sort(own.latencies_ms)
            ranks = {q: int(q * len(ordered)) for q in (0.5, 0.9, 0.99)}  # LoadGen's, results.cc
            found = {q: float(ordered[rank]) + later_ms for q, rank in ranks.items()}
            usual = {"valid": True, "early_stopping_ms": None, "per_s": 7.0, "errors": ()}
            return LoadGenReport(plan.scenario, plan.q, len(ordered), quantiles_ms=found, own=own, **usual | more)

        monkeypatch.setattr("edgekit.bench.judging.judge_with_loadgen", judge)
        return plans

    return put


def judged(mode: str = "closed", budget: str = "p50_ms<=5", own: Samples | None = None, **more) -> Judgement:
    config = BenchConfig(mode=mode, judge="loadgen", **more)
    return judged_from_outside(lambda: None, mode, parse_budget(budget), config, own or samples([1.0] * 700))


@pytest.mark.parametrize(
    ("mode", "own_ms", "later_ms", "agrees"),
    [
        ("closed", 1.0, 0.019, True),  # 1 % and 10 us
        ("closed", 1.0, 0.021, False),
        ("closed", 0.1, 0.0149, True),  # 5 us and 10 us
        ("closed", 0.1, 0.0151, False),
        ("closed", 1.0, -0.021, False),
        ("offline", 100.0, 1.24, True),  # 1 % and the list of them all
        ("offline", 100.0, 1.26, False),
        ("poisson", 5.0, 0.74, True),  # 10 % and the thread's waking
        ("poisson", 5.0, 0.76, False),
    ],
)
def test_what_both_clocks_may_be_apart(loadgen, mode, own_ms, later_ms, agrees):
    loadgen(samples([own_ms] * 800), later_ms)
    found = judged(mode, fps=100.0 if mode == "poisson" else None)
    assert found.agrees is agrees
    assert found.clocks["p99_ms"].judge_ms - found.clocks["p99_ms"].own_ms == pytest.approx(later_ms)
    assert list(found.clocks) == ["p50_ms", "p90_ms", "p99_ms"]
    assert found.lines()[-1] == ("  both clocks agree" if agrees else "  the clocks do not agree")
    assert [doubt.name for doubt in found.doubts()] == ([] if agrees else ["judge-disagrees"])


def test_both_clocks_stand_at_the_same_rank(loadgen):
    """Of 700 queries in a pile LoadGen's p50 is the 351st; ours is the 350th elsewhere, a whole query less."""
    loadgen(samples(np.arange(1, 701.0)), 0.0)
    assert judged().clocks["p50_ms"].own_ms == 351
    assert judged().agrees


def test_one_quantile_that_disagrees_is_named_and_keeps_a_pass_back(loadgen):
    loadgen(samples([1.0] * 700), 0.0)
    found = judged()
    clocks = {**found.clocks, "p90_ms": Clocks(700.0, 630.0, 6.3)}
    (doubt,) = dataclasses.replace(found, clocks=clocks).doubts()
    assert doubt.name in DOUBTS
    assert doubt.text.endswith("otherwise: p90 700 ms, by our clock 630 ms (+70000.0 us)")
    (limit,) = parse_budget("p50_ms<=60000")
    (finding,) = settle([judge_latency(limit, np.full(700, 1.0), None)], [doubt], [])
    assert (finding.outcome, finding.doubts) == ("INCONCLUSIVE", ("judge-disagrees",))


@pytest.mark.parametrize(
    ("own", "more", "queries"),
    [
        (samples([1.0] * 900), {}, 900),
        (samples([1.0] * 598), {}, 662),  # as many as early stopping needs
        (samples([1.0] * 598), {"requests": 598}, 598),
        (samples([1.0] * 300), {"duration": 3.5}, 350),  # at 100 a second
        (samples([1.0] * 20, 12), {"requests": 20}, 12),  # the others were never answered
        (samples([1.0] * 900, 700), {}, 700),
    ],
)
def test_as_many_queries_as_were_measured(loadgen, own, more, queries):
    plans = loadgen(own, 0.0)
    judged(own=own, **more)
    assert plans[0].queries == pytest.approx(queries, abs=1 if "duration" in more else 0)


@pytest.mark.parametrize(
    ("mode", "scenario", "deadline_ms"),
    [("closed", "single-stream", None), ("poisson", "server", 20.0), ("offline", "offline", None)],
)
def test_the_scenario_that_fits_the_mode(loadgen, mode, scenario, deadline_ms):
    fps = 50.0 if mode == "poisson" else None
    plans = loadgen(samples([1.0] * 700), 0.0)
    assert judged(mode, "p50_ms<=5,p99_ms<=20", fps=fps).scenario == scenario
    assert (plans[0].scenario, plans[0].fps, plans[0].q, plans[0].deadline_ms) == (scenario, fps, 0.99, deadline_ms)


def test_what_loadgen_calls_invalid_is_said(loadgen):
    loadgen(samples([1.0] * 50), 0.0, valid=False, early_stopping_ms=3.0, errors=("no luck",))
    lines = judged().lines()
    assert lines[0] == "LoadGen SingleStream of 50 queries: INVALID, 7 a second"
    assert lines[4:] == [
        "  p99 with 99 % confidence at most 3 ms, by our clock inf ms (-inf us)",
        "  INVALID at fewer than 662 queries: --requests 662, or a longer --duration",
        "  LoadGen: no luck",
        "  both clocks agree",
    ]


@pytest.mark.parametrize(("bound_ms", "agrees"), [(1.001, True), (3.0, False)])
def test_the_bound_counts_as_the_quantiles_do(loadgen, bound_ms, agrees):
    loadgen(samples([1.0] * 700), 0.0, early_stopping_ms=bound_ms)
    found = judged()
    assert (found.agrees, not found.doubts()) == (agrees, agrees)
    assert found.lines()[-1] == ("  both clocks agree" if agrees else "  the clocks do not agree")


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_without_a_scenario_is_refused(mode):
    pytest.importorskip("mlperf_loadgen", reason="the outside judge: pip install mlcommons-loadgen")
    if mode in ("closed", "poisson", "offline"):
        check_judge(BenchConfig(judge="loadgen"), mode)
        return
    with pytest.raises(UsageError, match=f"found {mode}; next: --mode poisson"):
        check_judge(BenchConfig(judge="loadgen"), mode)
    check_judge(BenchConfig(), mode)


def test_a_judge_that_is_not_there_is_missed_before_anything_is_measured(small_onnx, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    monkeypatch.setattr("edgekit.bench.open_subject", lambda *_: pytest.fail("something was opened"))
    with pytest.raises(TargetError, match="found none; next: pip install mlcommons-loadgen"):
        bench(small_onnx, tmp_path / "r.json", BenchConfig(judge="loadgen"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["closed", "poisson", "offline"])
def test_the_real_one_drives_the_same_server(small_onnx, small_data, tmp_path, mode):
    """How far the clocks are apart is for tests/latency/test_loadgen.py: here a busy machine changes nothing."""
    pytest.importorskip("mlperf_loadgen", reason="the outside judge: pip install mlcommons-loadgen")
    fps = 2000.0 if mode == "poisson" else None
    config = BenchConfig(str(small_data), mode=mode, fps=fps, requests=700, cold_starts=0, judge="loadgen")
    report = bench(small_onnx, tmp_path / "r.json", config)
    found = json.loads((tmp_path / "r.json").read_text())["judge"]
    assert report.judge is not None
    assert (found["judge"], found["queries"], found["errors"]) == ("loadgen", 700, [])
    assert (found["valid"], found["agrees"]) == (report.judge.valid, report.judge.agrees)
    for clocks in found["clocks"].values():
        assert 0 < clocks["own_ms"] <= clocks["judge_ms"], "LoadGen's stamps enclose ours"
    bounded = found["early_stopping"]
    assert (bounded is None) is (mode != "closed")
    if bounded:
        assert bounded["judge_ms"] >= found["clocks"]["p99_ms"]["judge_ms"]
        assert found["valid"]
    assert report.summary.n == 700, "and the measurement is the one before"
    assert ("judge-disagrees" in [doubt.name for doubt in report.doubts]) is not report.judge.agrees
