"""A trace, read as a viewer reads it: whose slices they are, where they stand, and what they add up to."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgekit.bench.measuring import Measured
from edgekit.bench.serving import Server
from edgekit.bench.trace import shown, write_trace
from edgekit.cli import main
from edgekit.latency import Samples, fixed_rate, measure
from edgekit.latency.arrivals import Arrivals, offline
from edgekit.latency.conditions import Moment
from edgekit.latency.soak import sample_soak
from edgekit.latency.stages import stage_times
from tests.latency.conftest import Clock

MOMENT = Moment(None, {}, None, {}, {}, ())


def ran(samples: Samples, times, soak=None) -> Measured:
    return Measured(samples, times, MOMENT, MOMENT, None, soak)


def served(clock: Clock, pre_ms: float, compute_ms: list[float]) -> Server:
    """Two stages on a clock that nobody waits for."""
    steps = (lambda: clock.sleep(pre_ms / 1e3), clock.serving(compute_ms))
    return Server(steps, ("pre", "compute"), "ort", "cpu", "", {}, clock.timer.now)


def traced(folder: Path, run: Measured, source: str = "m.onnx") -> dict:
    found = {"source": Path(source), "verdict": "measured", "mode": "closed", "backend": "ort", "device": "cpu"}
    report = SimpleNamespace(**found, summary=SimpleNamespace(n=len(run.samples.done_ns)))
    write_trace(folder / "t.json", report, run)
    return json.loads((folder / "t.json").read_text(encoding="utf-8"))


def measured(clock: Clock, arrivals: Arrivals, compute_ms: list[float], until_ms: float | None = None) -> Measured:
    server = served(clock, 1.0, compute_ms)
    until = None if until_ms is None else clock.ns + round(until_ms * 1e6)
    samples = measure(server, arrivals, clock.timer, until_ns=until)
    return ran(samples, stage_times(samples, server.stamps, server.stages))


def waits(events) -> dict[int, tuple[float, float]]:
    """By request, the ends of its wait: every one that begins ends, once."""
    found: dict[int, list[float]] = {}
    for event in events:
        if event["ph"] in "be":
            assert (event["cat"], event["name"]) == ("wait", "wait")
            times = found.setdefault(event["id"], [])
            assert (len(times) == 1) is (event["ph"] == "e")
            times.append(event["ts"])
    assert all(len(times) == 2 and times[0] <= times[1] for times in found.values())
    return {index: (begin, end) for index, (begin, end) in found.items()}


def requests(events) -> dict[int, list[dict]]:
    """By request, its slice and those of its stages, which lie in it."""
    found: dict[int, list[dict]] = {}
    for event in (event for event in events if event["ph"] == "X"):
        assert event["dur"] >= 0
        if event["name"].startswith("request "):
            found[int(event["name"].removeprefix("request "))] = [event]
        else:
            found[max(found)].append(event)
    return found


def test_the_slices_of_a_request_follow_each_other_and_are_its_latency(tmp_path):
    """A request is due every 5 ms; the second takes 12, so that those behind it wait."""
    run = measured(Clock(), fixed_rate(200, 6), [2.0, 11.0, 2.0, 2.0, 2.0, 2.0])
    events = traced(tmp_path, run)["traceEvents"]
    waiting, slices = waits(events), requests(events)
    latencies = run.samples.latencies_ms
    np.testing.assert_allclose(latencies, [3, 12, 10, 8, 6, 4])
    assert sorted(waiting) == [2, 3, 4, 5], "the others did not wait"
    end = 0.0
    for index, (whole, *stages) in slices.items():
        begin = waiting[index][0] if index in waiting else whole["ts"]
        assert begin == pytest.approx(5000 * index), "from when it was due"
        assert waiting.get(index, (0, whole["ts"]))[1] == pytest.approx(whole["ts"])
        assert whole["ts"] + whole["dur"] - begin == pytest.approx(1e3 * latencies[index])
        assert whole["args"]["latency_ms"] == pytest.approx(latencies[index])
        assert [stage["name"] for stage in stages] == ["pre", "compute"]
        edge = whole["ts"]
        for stage in stages:
            assert stage["ts"] == pytest.approx(edge)
            edge = stage["ts"] + stage["dur"]
        assert edge == pytest.approx(whole["ts"] + whole["dur"])
        assert whole["ts"] >= end - 1e-6, "the server has one request at a time: slices of a track must not overlap"
        end = whole["ts"] + whole["dur"]
    counted = [event["args"]["ms"] for event in events if event["ph"] == "C"]
    np.testing.assert_allclose(counted, latencies)


def test_those_that_nobody_served_wait_to_the_end(tmp_path):
    run = measured(Clock(), fixed_rate(1000, 5), [9.0] * 5, until_ms=4.5)
    events = traced(tmp_path, run)["traceEvents"]
    assert run.samples.answered == 1
    assert list(requests(events)) == [0]
    assert waits(events) == {index: (1000.0 * index, 10_000.0) for index in (1, 2, 3, 4)}


def test_the_head_says_what_it_is(tmp_path):
    hostile = 'a"],"traceEvents":[\n\u2028<x>.onnx'
    table = traced(tmp_path, measured(Clock(), offline(2), [1.0, 1.0]), hostile)
    assert table["otherData"]["source"] == hostile
    assert (table["otherData"]["requests"], table["otherData"]["shown"]) == (2, 2)
    assert "left_out" not in table["otherData"]
    named = {event["name"]: event["args"]["name"] for event in table["traceEvents"] if event["ph"] == "M"}
    assert named == {"process_name": f"edgekit bench {hostile}", "thread_name": "ort, cpu"}
    known = {"X": {"ts", "dur"}, "b": {"ts", "id", "cat"}, "e": {"ts", "id", "cat"}, "C": {"ts", "args"}, "M": {"args"}}
    for event in table["traceEvents"]:
        assert event.keys() >= {"name", "pid"} | known[event["ph"]]


def test_the_heat_of_a_soak_stands_where_it_was_read(tmp_path):
    clock = Clock()
    server = served(clock, 1.0, [2.0] * 1000)
    heat = iter([40.0, None, *np.arange(42.0, 60.0)])
    samples, soak = sample_soak(server, 100.0, 1.0, clock.timer, celsius=lambda: next(heat))
    events = traced(tmp_path, ran(samples, stage_times(samples, server.stamps, server.stages), soak))["traceEvents"]
    read = [(event["ts"], event["args"]["C"]) for event in events if event["name"] == "temperature"]
    assert len(soak.windows) == 10
    assert read[0] == (93_000.0, 40.0), "ten requests at 100 a second, the last of which takes 3 ms"
    assert read[1:3] == [(293_000.0, 42.0), (393_000.0, 43.0)]


def test_a_hundred_thousand_requests(tmp_path):
    """The slowest are there, and it says how many are not."""
    count = 100_000
    latencies = np.random.default_rng(0).lognormal(1, 0.3, count)
    latencies[[7, 77_777]] = 5_000.123456
    intended = np.arange(count, dtype=np.int64) * 10_000_000
    done = intended + np.rint(latencies * 1e6).astype(np.int64)
    shares = {"wait": 0.1, "pre": 0.2, "h2d": 0.1, "compute": 0.4, "d2h": 0.1, "post": 0.1}
    times = {name: share * latencies for name, share in shares.items()}
    table = traced(tmp_path, ran(Samples(intended, done), times))
    assert (tmp_path / "t.json").stat().st_size < 20_000_000
    there = [int(event["name"].split()[1]) for event in table["traceEvents"] if event["name"].startswith("request ")]
    assert there == sorted(set(there)) == shown(latencies.tolist())
    assert len(there) == table["otherData"]["shown"] == 25_000
    assert table["otherData"]["left_out"].startswith("75000 requests: shown are the 1000 slowest")
    assert set(np.argsort(-latencies)[:1000].tolist()) <= set(there)
    assert np.diff(there).max() <= 8, "none of the times is left out as a whole"


def test_as_many_as_fit_are_all_there():
    assert shown([1.0] * 25_000) == list(range(25_000))
    assert len(shown([1.0] * 25_001)) == 25_000


def test_a_real_run(small_onnx, small_data, tmp_path):
    asked = ["--data", str(small_data), "--fps", "500", "--requests", "50", "--cold-starts", "0"]
    files = ["--out", str(tmp_path / "r.json"), "--trace", str(tmp_path / "t.json")]
    with pytest.raises(SystemExit) as exit_info:
        main(["bench", str(small_onnx), *asked, *files])
    assert exit_info.value.code == 0
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    report = json.loads((tmp_path / "r.json").read_text())
    waiting, slices = waits(events), requests(events)
    assert len(slices) == 50
    for index, (whole, *stages) in slices.items():
        begin, begun = waiting.get(index, (whole["ts"], whole["ts"]))
        assert begun == pytest.approx(whole["ts"], abs=0.002)
        assert whole["ts"] + whole["dur"] - begin == pytest.approx(1e3 * report["latencies_ms"][index], abs=0.01)
        assert stages[1]["ts"] == pytest.approx(stages[0]["ts"] + stages[0]["dur"], abs=0.01)
        assert stages[1]["ts"] + stages[1]["dur"] <= whole["ts"] + whole["dur"] + 0.01
