"""What happened that was out of the ordinary, with its time; kept in order, and counted."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

_KEPT = 1000  # a soak of an hour with an event every few seconds


@dataclass(frozen=True)
class Event:
    """`kind` is a word or two, such as gap, bad, hung; `at_s` counts from the making of the loop."""

    kind: str
    at_s: float
    source: str
    message: str


Listener = Callable[[Event], None]


class Events:
    """Any thread may add one; `listener` hears of each in the thread that saw it."""

    def __init__(self, listener: Listener | None = None) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self._start_ns = time.perf_counter_ns()
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
            event = Event(kind, round((time.perf_counter_ns() - self._start_ns) / 1e9, 6), source, message)
            self._kept.append(event)
            self._counts[kind] += 1
        return event
