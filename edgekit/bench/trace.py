"""A run as a trace for ui.perfetto.dev and chrome://tracing: where each request waited, and which stage took how long.

The form is the Trace Event Format (Google; docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU):
`X` is a slice with its duration, `b` and `e` are the ends of one that may overlap others, `C` is a counter. Times are
in us from when the first request was due.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from edgekit.bench.measuring import Measured
from edgekit.bench.report import BenchReport
from edgekit.latency.stages import STAGES, WAIT, Times

Event = dict[str, Any]
# About 740 bytes each at the most, so that 100 000 requests stay below 20 MB.
_MOST = 25_000
_WORST = 1_000
_PID, _SERVER = 1, 1
_NO_TIME = 0


def write_trace(out: Path, report: BenchReport, run: Measured) -> None:
    """Write all requests; of more than 25 000 the 1000 slowest and others spread evenly, which the trace says."""
    head = json.dumps({"displayTimeUnit": "ms", "otherData": _told(report)}, ensure_ascii=False)
    with out.open("w", encoding="utf-8") as file:
        file.write(f'{head[:-1]},\n"traceEvents": [\n')
        separator = ""
        for event in _events(report, run):
            file.write(separator + json.dumps(event, separators=(",", ":"), ensure_ascii=False))
            separator = ",\n"
        file.write("\n]}\n")


def shown(latencies_ms: list[float]) -> list[int]:
    """Which requests a trace shows, in their order."""
    count = len(latencies_ms)
    if count <= _MOST:
        return list(range(count))
    worst = set(sorted(range(count), key=lambda index: -latencies_ms[index])[:_WORST])
    others, places = [index for index in range(count) if index not in worst], _MOST - _WORST
    spread = [others[place * len(others) // places] for place in range(places)]
    return sorted([*worst, *spread])


def _told(report: BenchReport) -> dict[str, Any]:
    count, kept = report.summary.n, min(report.summary.n, _MOST)
    told = {
        "source": str(report.source),
        "verdict": report.verdict,
        "mode": report.mode,
        "requests": count,
        "shown": kept,
        "times": "us from when the first request was due",
    }
    if kept < count:
        told["left_out"] = f"{count - kept} requests: shown are the {_WORST} slowest, and others spread evenly"
    return told


def _events(report: BenchReport, run: Measured) -> Iterator[Event]:
    yield _named("process_name", f"edgekit bench {report.source.name}")
    yield _named("thread_name", f"{report.backend}, {report.device}")
    latencies = run.samples.latencies_ms.tolist()
    start_ns = int(run.samples.intended_ns[0])
    names = [name for name in STAGES if name in run.times and name != WAIT]
    for index in shown(latencies):
        intended, done = int(run.samples.intended_ns[index]) - start_ns, int(run.samples.done_ns[index]) - start_ns
        if index < run.samples.answered:
            begun, *ends = _edges(run.times, [WAIT, *names], index, intended)
            yield from _waiting(index, intended, begun)
            yield _slice(f"request {index}", begun, done, latency_ms=round(latencies[index], 6))
            for name, begin, end in zip(names, [begun, *ends], ends, strict=False):
                yield _slice(name, begin, end)
        else:
            yield from _waiting(index, intended, done)
        yield _counter("latency", done, "ms", latencies[index])
    yield from _heat(run, start_ns)


def _edges(times: Times, names: list[str], index: int, intended_ns: int) -> list[int]:
    """When each stage of a request was over, in ns, the wait first.

    Between the last of them and the end of the request a microsecond passes that is no stage's.
    """
    spent = [round(float(times[name][index]) * 1e6) for name in names]
    return list(accumulate(spent, initial=intended_ns))[1:]


def _waiting(index: int, begin_ns: int, end_ns: int) -> Iterator[Event]:
    """Many wait at the same time, so that each has a row of its own where it needs one."""
    if end_ns > begin_ns:
        for phase, at_ns in (("b", begin_ns), ("e", end_ns)):
            yield {"ph": phase, "cat": WAIT, "id": index, "name": WAIT, "pid": _PID, "tid": _SERVER, "ts": _us(at_ns)}


def _slice(name: str, begin_ns: int, end_ns: int, **more: float) -> Event:
    times = {"ts": _us(begin_ns), "dur": _us(end_ns - begin_ns)}
    event: Event = {"ph": "X", "name": name, "pid": _PID, "tid": _SERVER, **times}
    return {**event, "args": more} if more else event


def _counter(name: str, at_ns: int, unit: str, value: float) -> Event:
    return {"ph": "C", "name": name, "pid": _PID, "ts": _us(at_ns), "args": {unit: round(value, 6)}}


def _heat(run: Measured, start_ns: int) -> Iterator[Event]:
    """It is read when the last request of a window is done."""
    sent = 0
    for window in run.soak.windows if run.soak else ():
        sent += window.n
        if window.celsius is not None:
            yield _counter("temperature", int(run.samples.done_ns[sent - 1]) - start_ns, "C", window.celsius)


def _named(what: str, name: str) -> Event:
    return {"ph": "M", "name": what, "pid": _PID, "tid": _SERVER, "ts": _NO_TIME, "args": {"name": name}}


def _us(ns: int) -> float:
    return round(ns / 1e3, 3)
