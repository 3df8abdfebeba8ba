"""What is kept of one source: references to its last answers and frames, and the ages of the last minute."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, NamedTuple

from edgekit.runtime.loop.report import Processed
from edgekit.runtime.web.minute import Minute

# Of a sound or a series so many chunks are kept, about a second of sound; pictures are larger than this.
_RECENT, _SMALL_BYTES = 64, 1 << 16


class Seen(NamedTuple):
    """The last answer of a source, when it was given, and the last small frames up to it, the oldest first."""

    serial: int
    processed: Processed
    at_ns: int
    recent: tuple[Processed, ...]


class Pane:
    """`add` is called in the loop's thread and takes about a microsecond; all else in the server's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._minute = Minute()
        self._serial = self._at_ns = 0
        self._last: Processed | None = None
        self._recent: deque[Processed] = deque(maxlen=_RECENT)

    def add(self, processed: Processed) -> None:
        """Keep an answer. A frame's memory is never written again, so that a reference is enough."""
        now_ns = time.perf_counter_ns()
        small = getattr(processed.frame.data, "nbytes", _SMALL_BYTES) < _SMALL_BYTES
        with self._lock:
            self._serial += 1
            self._last, self._at_ns = processed, now_ns
            self._minute.add(now_ns, processed.age_ms)
            if small:
                self._recent.append(processed)

    def seen(self) -> Seen | None:
        """The last answer, None before the first."""
        with self._lock:
            if self._last is None:
                return None
            return Seen(self._serial, self._last, self._at_ns, tuple(self._recent))

    def state(self, now_ns: int) -> dict[str, Any]:
        """Numbers as JSON values: `rate` in answers a second, `since_ms` since the last one was given."""
        with self._lock:
            last, at_ns, rate = self._last, self._at_ns, self._minute.rate(now_ns)
        return {
            "name": self.name,
            "number": last.frame.number if last else None,
            "held": last is not None and last.held,
            "since_ms": round((now_ns - at_ns) / 1e6) if last else None,
            "rate": rate,
        }

    def oldest_ms(self, now_ns: int) -> list[float | None]:
        """As `Minute.oldest_ms`."""
        with self._lock:
            return self._minute.oldest_ms(now_ns)
