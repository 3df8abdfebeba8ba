"""The sources of a loop, and what is taken of them at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from edgekit.runtime.loop.capture import Capture
from edgekit.runtime.loop.events import Events
from edgekit.runtime.loop.policy import Policy
from edgekit.runtime.loop.slots import Every, Fifo, Latest
from edgekit.runtime.sources.frame import Frame, Source

# A signal handler may take no lock, so it cannot wake the loop: who waits for frames looks up this often.
_LOOK_UP_S = 0.05
_JOIN_S = 2.0


class Intake:
    """One slot and one capturing thread a source; all slots share one condition, and so one lock."""

    def __init__(self, sources: Sequence[Source], policy: Policy, events: Events) -> None:
        self.ready = threading.Condition()
        self.slots = [_slot(policy, self.ready) for _ in sources]
        self.names = [source.name for source in sources]
        self._captures = [Capture(*pair, events) for pair in zip(sources, self.slots, strict=True)]
        self._wait_s = policy.wait_ms / 1e3
        self._silent_ns = None if policy.silent_ms is None else round(policy.silent_ms * 1e6)

    def start(self) -> None:
        """Begin to capture from all sources."""
        for capture in self._captures:
            capture.start()

    def take(self) -> list[Frame | None]:
        """The next frame of each camera, None for one that has none in time; empty where none has any for a while."""
        if self._silent_ns is not None:
            now_ns = time.perf_counter_ns()
            for capture in self._captures:
                capture.look(now_ns, self._silent_ns)
        with self.ready:
            if not self._any():
                self.ready.wait(_LOOK_UP_S)
            if not self._any():
                return []
            end_s = time.monotonic() + self._wait_s
            while not self._all() and (left_s := end_s - time.monotonic()) > 0:
                self.ready.wait(left_s)
            return [slot.pop() for slot in self.slots]

    def exhausted(self) -> bool:
        """Whether no source will give another frame, and none waits."""
        with self.ready:
            return all(slot.closed and not slot.waiting for slot in self.slots)

    def lost(self) -> bool:
        """Whether a source went away instead of ending."""
        return any(capture.lost for capture in self._captures)

    def wrong(self) -> bool:
        """Whether a source never was one, as of a name that is wrong."""
        return any(capture.wrong for capture in self._captures)

    def blind(self) -> bool:
        """Whether a source has gone, or been silent for long."""
        return any(capture.lost or capture.silent for capture in self._captures)

    def stop(self) -> None:
        """Let go of all sources and wait for their threads; twice does no harm."""
        for capture in self._captures:
            capture.begin_stop()
        end_s = time.monotonic() + _JOIN_S
        for capture in self._captures:
            capture.join(max(0.1, end_s - time.monotonic()))

    def _any(self) -> bool:
        return any(slot.waiting for slot in self.slots)

    def _all(self) -> bool:
        return all(slot.waiting or slot.closed for slot in self.slots)


def _slot(policy: Policy, ready: threading.Condition) -> Fifo:
    if policy.buffer == "latest":
        return Latest(ready)
    return (Fifo if policy.buffer == "fifo" else Every)(policy.capacity, ready)
