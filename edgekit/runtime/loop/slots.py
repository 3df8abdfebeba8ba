"""Between the thread that captures, which never waits, and the thread that computes.

At every moment captured = taken + dropped + waiting.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from edgekit.errors import UsageError
from edgekit.runtime.sources.frame import Frame


class Counts(NamedTuple):
    """Frames of one slot, all of the same moment."""

    captured: int
    taken: int
    dropped: int
    waiting: int


class Fifo:
    """At most `capacity` frames, the oldest first; one more drops the oldest.

    Slots that share a condition, `ready`, can be waited for together.
    """

    def __init__(self, capacity: int, ready: threading.Condition | None = None) -> None:
        if capacity < 1:
            raise UsageError(f"expected a capacity of at least 1, found {capacity}")
        self.ready = ready or threading.Condition()
        self.closed = False
        self._capacity = capacity
        self._frames: deque[Frame] = deque()
        self._captured = self._taken = self._dropped = 0

    @property
    def waiting(self) -> int:
        """How many frames wait."""
        return len(self._frames)

    def put(self, frame: Frame) -> None:
        """Hand a frame over; it is dropped where the slot is closed."""
        # What is replaced goes when this returns, outside the lock: giving megabytes back takes longer than all else.
        replaced = None
        with self.ready:
            self._captured += 1
            if self.closed:
                self._dropped += 1
                return
            if len(self._frames) == self._capacity:
                replaced = self._frames.popleft()
                self._dropped += 1
            self._frames.append(frame)
            self.ready.notify_all()
        del replaced

    def take(self, timeout_s: float | None = None) -> Frame | None:
        """The next frame; None when there is none within the time, or none is left of a closed slot."""
        with self.ready:
            self.ready.wait_for(lambda: self._frames or self.closed, timeout_s)
            return self.pop()

    def pop(self) -> Frame | None:
        """The next frame if one waits."""
        with self.ready:
            if not self._frames:
                return None
            self._taken += 1
            return self._frames.popleft()

    def close(self) -> None:
        """Take no more frames; those that wait can still be taken."""
        with self.ready:
            self.closed = True
            self.ready.notify_all()

    def discard(self, unfinished: int = 0) -> None:
        """Close, and drop what waits, and so many frames that were taken but never answered."""
        with self.ready:
            self.close()
            self._dropped += len(self._frames) + unfinished
            self._taken -= unfinished
            left, self._frames = self._frames, deque()
        del left

    def counts(self) -> Counts:
        """All counts of one moment."""
        with self.ready:
            return Counts(self._captured, self._taken, self._dropped, len(self._frames))


class Every(Fifo):
    """No frame is dropped while it is open: who captures waits for room. For recordings; a camera would run over."""

    def put(self, frame: Frame) -> None:
        """Hand a frame over, once there is room."""
        with self.ready:
            self.ready.wait_for(lambda: len(self._frames) < self._capacity or self.closed)
            super().put(frame)

    def pop(self) -> Frame | None:
        """The next frame if one waits."""
        with self.ready:
            frame = super().pop()
            self.ready.notify_all()
            return frame


class Latest(Fifo):
    """The newest frame: one is captured, one waits, one is computed on, as in a triple buffer.

    That is a Fifo of one, since sources do not write a frame's memory again: a frame is handed over, not copied.
    """

    def __init__(self, ready: threading.Condition | None = None) -> None:
        super().__init__(1, ready)
