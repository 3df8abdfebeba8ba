"""Other models that run meanwhile, each in a process of its own, as a robot's other programs do.

A detector that takes 20 ms alone takes more while a speech model runs beside it: the caches, the memory's bandwidth and
the GPU are shared. What counts is the latency in that company.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from edgekit.errors import UsageError
from edgekit.latency.child import Child, Inputs, Request, Table, opened, say, started, tell, written
from edgekit.latency.measure import warm_up
from edgekit.latency.stats import LatencySummary, summarise

_MOST_KEPT = 100_000
_NEXT = "--beside SOURCE[@FPS]"


@dataclass(frozen=True)
class Company:
    """Another model to run: `fps` requests a second, None for one after the other."""

    source: Path
    fps: float | None


@dataclass(frozen=True)
class CompanyReport:
    """What it did meanwhile: `answered` requests, `per_s` a second; `summary` is of the last 100 000 latencies, each
    from its intended start."""

    source: Path
    fps: float | None
    answered: int
    per_s: float
    summary: LatencySummary

    def __str__(self) -> str:
        found = self.summary
        rate = "one after the other" if self.fps is None else f"{self.fps:g} a second"
        times = f"p50 {found.p50_ms.value:.4g}, p99 {found.p99_ms.value:.4g} ms"
        return f"{self.source}, {rate}: {self.answered} answers, {self.per_s:.4g} a second, {times}"


def parse_company(text: str) -> Company:
    """Read `SOURCE`, or `SOURCE@FPS`. Raises UsageError for a rate that is none."""
    source, at, rate = text.rpartition("@")
    if text and (not at or _exists(text)):
        return Company(Path(text), None)
    try:
        fps = float(rate)
    except ValueError:
        fps = 0.0
    if not 0.001 <= fps <= 1e6 or not source:
        raise UsageError(f"expected a model, or a model@rate, beside it, found {text!r}", _NEXT)
    return Company(Path(source), fps)


def _exists(name: str) -> bool:
    """Whether it is there; `exists` raises OSError for a name that is longer than any file's."""
    try:
        return Path(name).exists()
    except OSError:
        return False


@contextlib.contextmanager
def beside(company: Sequence[tuple[Company, Request]]) -> Iterator[list[CompanyReport]]:
    """Run these models until the context ends, which begins when all of them are warm; the list is filled at its end.

    Raises SessionError where one cannot be opened, or ended before it was told to, IntegrityError where one is refused.
    """
    reports: list[CompanyReport] = []
    with contextlib.ExitStack() as stack:
        running = []
        for who, request in company:
            asked = {**stack.enter_context(written(request)), "fps": who.fps}
            running.append((who, stack.enter_context(started(__name__, asked))))
        for who, process in running:
            _check(who, process, process.line(), "ready")
        yield reports
        for who, process in running:
            told = process.end()
            _check(who, process, told, "latencies_ms")
            latencies = np.array(told["latencies_ms"], np.float64)
            reports.append(CompanyReport(who.source, who.fps, told["answered"], told["per_s"], summarise(latencies)))


def _check(who: Company, process: Child, told: Table, wanted: str) -> None:
    if wanted not in told or process.failed:
        raise process.error(told, f"{who.source} to run beside until the end", _NEXT)


def child(asked: str) -> None:
    """The process itself: a line when it is warm, and one at its end."""
    tell(asked, _answer)


def _answer(asked: Table, inputs: Inputs, answers: IO[str]) -> None:
    ended = threading.Event()

    def wait_for_end() -> None:
        os.read(0, 1)  # not sys.stdin, whose lock a thread that still waits would keep at the end of the process
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    with opened(asked, inputs) as run:
        warm_up(run)
        say(answers, {"ready": True})
        latencies: deque[float] = deque(maxlen=_MOST_KEPT)
        begin = due = time.perf_counter_ns()
        answered = 0
        while not answered or not ended.is_set():
            if asked["fps"] is None:
                due = time.perf_counter_ns()
            run()
            done = time.perf_counter_ns()
            latencies.append((done - due) / 1e6)
            answered += 1
            if asked["fps"] is not None:
                due += round(1e9 / asked["fps"])
                ended.wait(max(0, due - time.perf_counter_ns()) / 1e9)
        seconds = (time.perf_counter_ns() - begin) / 1e9
        say(answers, {"answered": answered, "per_s": answered / seconds, "latencies_ms": list(latencies)})
