"""What a task is called with: it runs a loop, or says that it lives."""

from __future__ import annotations

import signal
import socket
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

from edgekit.runtime.supervise import wire
from edgekit.runtime.supervise.restarts import Restarts

if TYPE_CHECKING:
    from edgekit.runtime.loop import LoopReport, StreamLoop

_STATES = {"new": "running", "ended": "stopping"}  # a loop's word, and a task's
_EVENTS_SENT = 20
_BEAT_S = 0.05
_NUMBERS_S = 0.5  # a loop's numbers are sent so often, its state at each tick
_MARGIN_S = 2.0


class Worker:
    """A task's way to its supervisor. `told` says whether it is to end.

    SIGTERM ends the loop under way in order; a task that beats is interrupted, by SystemExit, at its next beat, any
    other at once. A second SIGTERM does nothing more, and SIGINT nothing at all: that is the supervisor's. SIGALRM is
    taken, see `arm`.
    """

    def __init__(self, name: str, line: socket.socket, restarts: Restarts, start_ns: int | None = None) -> None:
        self.name, self.told = name, False
        self._line, self._restarts = line, restarts
        self._start_ns = time.perf_counter_ns() if start_ns is None else start_ns  # the supervisor's clock began
        self._loop: StreamLoop | None = None
        self._state, self._failure, self._final = "starting", "", False
        self._blank = ""  # that its loop never had a frame, which is no failure where it was told to end
        self._beat_s = self._numbers_s = 0.0
        self._lock = threading.Lock()  # a tick must not say that a loop runs after it was said that it does not

    def run(self, loop: StreamLoop, frames: int | None = None, seconds: float | None = None) -> LoopReport:
        """`loop.run`, seen by the supervisor. Where a source is lost, answers are bad or sinks fail, so that the loop
        ends, the task is a failure when it returns, unless another loop is run after it; where a source's name is
        wrong, so that there never was one, the task is given up at once. The loop's events have the supervisor's clock
        and the task's name from now on."""
        self._end_if_told()
        loop.events.belong_to(self.name, self._start_ns)
        with self._lock:
            self._loop = loop
            self._enter("running")
        try:
            report = loop.run(frames, seconds)
        finally:
            with self._lock:
                self._loop = None
                self._enter("stopping")
        said = _seen(loop)
        last = said["events"][-1].message if said["events"] else "no event"
        self._final = report.failed == "wrong source"
        self._failure = f"its loop ended with {report.failed}: {last}" if report.failed else ""
        lost = [event.message for event in said["events"] if event.kind == "lost"]
        blank = not report.captured and said["events"]
        self._blank = f"it never had a frame: {(lost or [last])[-1]}" if blank else ""
        final = {**report.to_json(), "events": said["events"]}
        wire.say(self._line, {"report": final, **said}, patience_s=self._restarts.grace_s)
        return report

    def beat(self, **numbers: Any) -> None:
        """Say that the task lives, and `numbers`, JSON values, that are to be seen. One that beats must go on with it:
        from then on `silent_s` counts. Only some twenty a second are sent."""
        self._end_if_told()
        now_s = time.monotonic()
        if self._state != "running" or now_s - self._beat_s >= _BEAT_S:
            self._beat_s = now_s
            self._enter("running", numbers=numbers)

    def arm(self) -> None:
        """Have the kernel end this process, by SIGALRM, unless this is called again in time.

        The last resort where a call hangs that holds Python's lock, so that no thread can see that the supervisor is
        gone. Later than the supervisor, which otherwise does it.
        """
        limits = self._restarts
        limit_s = limits.start_s if self._state in ("starting", "stopping") else limits.silent_s
        signal.setitimer(signal.ITIMER_REAL, limit_s + limits.grace_s + _MARGIN_S)

    def tick(self) -> None:
        """Say how the loop under way is; called by another thread, about ten times a second."""
        self.arm()
        with self._lock:
            loop = self._loop
            if loop is None:
                return
            state, now_s = _STATES.get(loop.state, loop.state), time.monotonic()
            more = {}
            if state != self._state or now_s - self._numbers_s >= _NUMBERS_S:
                self._numbers_s, more = now_s, _seen(loop)
            self._enter(state, **more)

    def terminate(self, number: int, frame: FrameType | None) -> None:
        """The handler of SIGTERM; it takes no lock."""
        first, self.told = not self.told, True
        loop = self._loop
        if loop is not None:
            loop.stop(signal.Signals(number).name)
        elif first and self._state != "running":
            raise SystemExit(0)

    def end(self) -> dict[str, Any]:
        """What is to be said of a task that returned."""
        good = self.told or not self._failure
        final = self._final and not good  # a new process would find the same name
        why = self._blank if self.told else self._failure
        return {"good": good, "told": self.told, "why": why, "final": final}

    @property
    def told_early(self) -> bool:
        """Told to end before it ran: whatever is raised then, as by an import that was interrupted, is that end."""
        return self.told and self.starting

    @property
    def starting(self) -> bool:
        """No loop was run, and no beat given."""
        return self._state == "starting"

    def _end_if_told(self) -> None:
        if self.told:
            raise SystemExit(0)

    def _enter(self, state: str, **more: Any) -> None:
        if state != self._state:
            self._state = state
            self.arm()
        wire.say(self._line, {"state": state, **more})


def _seen(loop: StreamLoop) -> dict[str, Any]:
    """What is shown of a loop: its ages, counts without the histograms, its session and its last events."""
    numbers = {key: value for key, value in loop.snapshot().items() if not key.endswith("_ms")}
    return {
        "age_ms": loop.ages(),
        "numbers": numbers,
        "session": loop.health()["session"],
        "events": loop.events.last()[-_EVENTS_SENT:],
    }
