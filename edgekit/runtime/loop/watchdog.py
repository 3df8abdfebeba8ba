"""Sees from another thread that an inference, or a sink, does not end."""

from __future__ import annotations

import math
import os
import select
import threading
import time

from edgekit.runtime.loop.events import Events


class Watchdog:
    """Reports what takes longer than `limit_ms`, once, and again when it came back after all.

    Costs the loop three assignments and a lock nobody contends for. The thread sleeps until what is under way would be
    too long, or one limit where nothing is: what begins meanwhile is not too long by then. It sleeps in poll(2): up to
    Python 3.10, `Event.wait` follows the wall clock, and would wait for hours where a robot's date is set back.
    """

    def __init__(self, limit_ms: float | None, events: Events, source: str = "") -> None:
        self.hung = False
        self._source = source  # what its events name
        self._limit_ns = 0 if limit_ms is None else round(limit_ms * 1e6)
        self._events = events
        self._lock = threading.Lock()
        self._started_ns = 0  # 0 where nothing is under way
        self._what = ""
        self._stop: int | None = None  # a file that can be read once the watch is to end
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch, where there is a limit."""
        if self._limit_ns:
            self._stop = os.eventfd(0, os.EFD_CLOEXEC)
            self._thread.start()

    def stop(self) -> None:
        """End the watch; twice does no harm."""
        if self._stop is None:
            return
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)
        self._stop = None

    def begin(self, what: str = "an inference") -> None:
        """It begins."""
        self._what = what
        self._started_ns = time.perf_counter_ns()

    def end(self, *, abandoned: bool = False) -> None:
        """It ended; or the loop gave it up, and is hung for good."""
        with self._lock:
            started_ns, self._started_ns = self._started_ns, 0
            came_back = self.hung and not abandoned
            if came_back:
                self.hung = False
        if came_back:
            self._events.add("recovered", self._source, f"after {(time.perf_counter_ns() - started_ns) / 1e6:.1f} ms")

    def _run(self) -> None:
        assert self._stop is not None
        told = select.poll()
        told.register(self._stop, select.POLLIN)
        while not told.poll(math.ceil(self._sleep_ns() / 1e6)):
            with self._lock:
                late_ns = time.perf_counter_ns() - self._started_ns if self._started_ns else 0
                found = late_ns >= self._limit_ns and not self.hung
                if found:
                    self.hung = True
            if found:
                took, limit = late_ns / 1e6, self._limit_ns / 1e6
                message = f"expected {self._what} within {limit:g} ms, running for {took:.1f} ms"
                self._events.add("hung", self._source, message)

    def _sleep_ns(self) -> int:
        started_ns = self._started_ns
        if not started_ns or self.hung:
            return self._limit_ns
        return max(0, started_ns + self._limit_ns - time.perf_counter_ns())
