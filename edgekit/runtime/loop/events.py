"""What happened that was out of the ordinary, with its time; kept in order, and counted."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

_KEPT = 1000  # a soak of an hour with an event every few seconds


@dataclass(frozen=True)
class Event:
    """`kind` is a word or two, such as gap, bad, hung. `at_s` counts from the making of the loop; in a supervised task
    from that of the supervisor, so that the events of all processes have one clock, and `task` is the task's name.

    As text it is a line: `12.3 see camera:0 lost: …`.
    """

    kind: str
    at_s: float
    source: str
    message: str
    task: str = ""

    def __str__(self) -> str:
        what = " ".join(word for word in (f"{self.at_s:.1f}", self.task, self.source, self.kind) if word)
        return f"{what}: {self.message}" if self.message else what


Listener = Callable[[Event], None]


class Events:
    """Any thread may add one; `listener` hears of each in the thread that saw it."""

    def __init__(self, listener: Listener | None = None) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self.start_ns = time.perf_counter_ns()
        self._task = ""
        self._kept: deque[Event] = deque(maxlen=_KEPT)
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, source: str = "", message: str = "") -> Event:
        """Keep and count an event. A listener that raises is counted as an event of its own, which it does not hear."""
        event = self._keep(kind, source, message)
        if self._listener is not None:
            try:
                self._listener(event)
            except Exception as error:  # it must not end the thread that saw the event
                self._keep("listener error", source, f"{kind}: {error!r}")
        return event

    def belong_to(self, task: str, start_ns: int) -> None:
        """Be events of a supervised task, also those that there were: they count from `start_ns`, another process's.

        That is of `time.perf_counter_ns`, which on Linux is the same clock in all processes.
        """
        with self._lock:
            later_s = (self.start_ns - start_ns) / 1e9
            kept = [replace(event, task=task, at_s=round(event.at_s + later_s, 6)) for event in self._kept]
            self._kept.clear()
            self._kept.extend(kept)
            self._task, self.start_ns = task, start_ns

    def last(self) -> tuple[Event, ...]:
        """The last thousand, the oldest first."""
        with self._lock:
            return tuple(self._kept)

    def counts(self) -> dict[str, int]:
        """How many there were of each kind, also of those that are no longer kept."""
        with self._lock:
            return dict(self._counts)

    def _keep(self, kind: str, source: str, message: str) -> Event:
        with self._lock:
            at_s = round((time.perf_counter_ns() - self.start_ns) / 1e9, 6)
            event = Event(kind, at_s, source, message, self._task)
            self._kept.append(event)
            self._counts[kind] += 1
        return event
