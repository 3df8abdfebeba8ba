"""Sources for the tests: one that does what it is told, and one that keeps time."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time

import numpy as np

from edgekit.runtime.sources import Frame


def frame(number: int, source: str = "front", data: object = None, age_s: int = 0) -> Frame:
    values = np.full(4, number, np.float32) if data is None else np.asarray(data)
    return Frame(values, time.perf_counter_ns() - age_s * 10**9, number, source)


class Scripted:
    """Gives what is put into it, at once; an exception is raised; None is its end."""

    rate = None

    def __init__(self, *script, name: str = "front", ends: bool = True):
        self.name, self.closed = name, 0
        self.given: queue.SimpleQueue = queue.SimpleQueue()
        for item in (*script, *([None] if ends else [])):
            self.give(item)

    def give(self, item) -> None:
        self.given.put(frame(item, self.name) if isinstance(item, int) else item)

    def frames(self):
        while (item := self.given.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None:
        self.closed += 1
        self.given.put(None)


class Camera:
    """`count` frames at a rate, each captured when it was due; remembers how late it handed them over."""

    def __init__(self, rate: float, count: int, name: str = "front", data: np.ndarray | None = None):
        self.name, self.rate, self.count = name, rate, count
        self.data = np.zeros(4, np.float32) if data is None else data
        self.late_ns = 0
        self.stopped = threading.Event()

    def frames(self):
        start_ns = time.perf_counter_ns()
        for number in range(self.count):
            due_ns = start_ns + round(number * 1e9 / self.rate)
            if self.stopped.wait(max(0, due_ns - time.perf_counter_ns()) / 1e9):
                return
            self.late_ns = max(self.late_ns, time.perf_counter_ns() - due_ns)
            yield Frame(self.data, due_ns, number, self.name)

    def close(self) -> None:
        self.stopped.set()


@contextlib.contextmanager
def restless():
    """Threads change places nearly everywhere, and so find each other's races."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def wait_until_captured(loop, count: int) -> None:
    """What a camera has not handed over when the loop stops is not counted at all."""
    end_s = time.monotonic() + 30
    while loop.snapshot()["captured"] < count:
        assert time.monotonic() < end_s
        time.sleep(0.001)


def number_of(frames) -> list[int]:
    """Work that answers with each frame's number."""
    return [None if item is None else item.number for item in frames]
