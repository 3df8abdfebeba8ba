"""How long a new process takes to its first answer, and how much memory it needs: what a robot's restart costs.

Each start is a process of its own. The files have been read before: what a disk adds after a reboot is not in it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import IO

from edgekit.latency.child import Inputs, Request, Table, opened, say, started, tell, written
from edgekit.reports import Progress, no_progress, peak_rss_mib

_MORE_RUNS = 5  # an allocator reaches its peak after a few


@dataclass(frozen=True)
class Start:
    """One process: `seconds` from its start to its first answer, of which `open_s` is opening and `first_s` the first
    inference; the rest is Python and its imports. `peak_rss_mib` is the most memory that it had, after six answers."""

    seconds: float
    open_s: float
    first_s: float
    peak_rss_mib: float


def cold_starts(request: Request, count: int, progress: Progress = no_progress) -> tuple[Start, ...]:
    """Start `count` processes, one after the other, that open the model and answer. SessionError when one fails,
    IntegrityError when one refuses the bundle."""
    with written(request) as asked:
        starts = []
        for index in range(count):
            progress("starting processes", index, count)
            starts.append(_started(asked))
        return tuple(starts)


def _started(asked: Table) -> Start:
    with started(__name__, asked) as process:
        told = process.line()
        seconds = time.perf_counter() - process.begin
        told |= process.end()
        if process.failed or "peak_rss_mib" not in told:
            raise process.error(told, "a new process to open the model and answer", "--cold-starts 0")
        return Start(seconds=round(seconds, 4), **told)


def child(asked: str) -> None:
    """The process itself: a line of JSON after the first answer, and one at its end."""
    tell(asked, _answer)


def _answer(asked: Table, inputs: Inputs, answers: IO[str]) -> None:
    begin = time.perf_counter()
    with opened(asked, inputs) as run:
        ready = time.perf_counter()
        run()
        done = time.perf_counter()
        say(answers, {"open_s": round(ready - begin, 4), "first_s": round(done - ready, 4)})
        for _ in range(_MORE_RUNS):
            run()
        say(answers, {"peak_rss_mib": peak_rss_mib()})
