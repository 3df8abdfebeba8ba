"""One thread a source: it waits for frames and hands them over, and says why it ended."""

from __future__ import annotations

import threading
import time

from edgekit.errors import DataError, TargetError, UsageError, first_line
from edgekit.runtime.loop.events import Events
from edgekit.runtime.loop.slots import Fifo
from edgekit.runtime.sources.frame import Frame, Source, SourceLost


class Capture:
    """Moves the frames of `source` into `slot`, and closes the slot when there are no more."""

    def __init__(self, source: Source, slot: Fifo, events: Events) -> None:
        self.lost = False  # the source went away, rather than came to its end
        self.wrong = False  # there never was one: its name is wrong, and a new process would meet that again
        self.silent = False  # it has given no frame for long
        self._last_ns = 0  # when it gave one, or was begun
        self._reopened_ns = 0
        self._source, self._slot, self._events = source, slot, events
        self._stopping = False
        self._next: int | None = None
        self._thread = threading.Thread(target=self._run, name=f"capture {source.name}", daemon=True)

    def start(self) -> None:
        """Begin to capture."""
        listen = getattr(self._source, "listen", None)
        if listen is not None:  # such as Reconnecting's
            listen(lambda kind, message: self._events.add(kind, self._source.name, message))
        self._last_ns = time.perf_counter_ns()
        self._thread.start()

    def look(self, now_ns: int, limit_ns: int) -> None:
        """See whether the source is silent, and have it opened anew if it can be; called again and again.

        A camera may stay open and give nothing any more, as after a fault of its bus.
        """
        silent = not self._slot.closed and not self._slot.waiting and now_ns - self._last_ns >= limit_ns
        if silent and not self.silent:
            self._events.add("silent", self._source.name, f"no frame for {limit_ns / 1e9:g} s")
        if silent and now_ns - self._reopened_ns >= limit_ns:
            self._reopened_ns = now_ns
            getattr(self._source, "reopen", lambda: None)()
        self.silent = silent

    def begin_stop(self) -> None:
        """Let go of the source; its thread ends soon after."""
        self._stopping = True
        self._slot.close()
        try:
            self._source.close()
        except Exception as error:  # such as a device that is gone
            self._events.add("close failed", self._source.name, first_line(error))

    def join(self, timeout_s: float) -> None:
        """Wait for the thread; a driver that does not let go of it is an event, and is left alone."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._events.add("source hangs", self._source.name, f"still capturing {timeout_s:g} s after close")

    def _run(self) -> None:
        try:
            for frame in self._source.frames():
                self._watch_numbers(frame)
                self._last_ns = time.perf_counter_ns()
                self._slot.put(frame)
                if self._stopping:
                    return
            if left_out := getattr(self._source, "skipped", 0):  # by a recording, which goes on without them
                self._events.add("left out", self._source.name, f"{left_out} that could not be decoded")
        except Exception as error:  # whatever a driver raises: a thread must not end in silence
            if not self._stopping:
                self.lost = True
                self.wrong = self._next is None and _is_final(error)
                kind = "lost source" if isinstance(error, SourceLost) else "failed source"
                self._events.add(kind, self._source.name, first_line(error))
        finally:
            self._slot.close()

    def _watch_numbers(self, frame: Frame) -> None:
        if self._next is not None and frame.number != self._next:
            self._events.add("gap", self._source.name, f"expected frame {self._next}, found {frame.number}")
        self._next = frame.number + 1


def _is_final(error: Exception) -> bool:
    """Whether waiting does not cure it, as `Reconnecting` has it, which raises no other."""
    if isinstance(error, TargetError):
        return isinstance(error.__cause__, ImportError)
    return isinstance(error, (UsageError, DataError)) and not isinstance(error, SourceLost)
