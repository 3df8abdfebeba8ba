"""Gives each frame's answer to the sinks; where it is bad, the last good one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.errors import first_line
from edgekit.runtime.loop.events import Events
from edgekit.runtime.loop.policy import Policy
from edgekit.runtime.loop.report import Processed
from edgekit.runtime.loop.statistics import Statistics
from edgekit.runtime.loop.work import Done, Frames
from edgekit.runtime.sources.frame import Frame

Sink = Callable[[Processed], object]


@dataclass
class _Camera:
    """What is remembered of one: its last good answer, and when the frame of that was captured, 0 for never."""

    good_ns: int = 0
    answer: Any = None
    bad_in_a_row: int = 0


class Delivery:
    """Called from the loop's thread. `must_end` says why the loop has to end, empty while it need not."""

    def __init__(self, sinks: Sequence[Sink], cameras: int, policy: Policy, events: Events) -> None:
        self.must_end = ""
        self._sinks, self._policy, self._events = sinks, policy, events
        self._cameras = [_Camera() for _ in range(cameras)]
        self._errors_in_a_row = [0] * len(sinks)  # of each sink: one that works says nothing of another

    @property
    def degraded(self) -> bool:
        """Whether a camera has had no good answer for long."""
        return any(camera.bad_in_a_row >= self._policy.bad_limit for camera in self._cameras)

    def give(self, frames: Frames, done: Done, statistics: Statistics) -> None:
        """Count and hand over what came of one turn."""
        statistics.computed(done.timing)
        for slot, frame in enumerate(frames):
            if frame is None:  # nothing is given again: sinks would take a camera that is only slower for a bad one
                statistics.left_out += 1
            else:
                self._answered(slot, frame, done, statistics)

    def _answered(self, slot: int, frame: Frame, done: Done, statistics: Statistics) -> None:
        camera, good = self._cameras[slot], done.good[slot]
        if good:
            self._good_again(camera, frame)
        else:
            statistics.bad += 1
            self._bad(camera, frame, done.why(slot))
        if good or self._policy.on_bad == "pass":
            camera.good_ns, camera.answer = frame.captured_ns, done.answers[slot]
        held = not good and self._policy.on_bad != "pass"
        age_ms = _age_ms(camera.good_ns or frame.captured_ns)
        statistics.answered(slot, age_ms, held)
        self._sink(Processed(frame, camera.answer, age_ms, done.timing, held), statistics)

    def _good_again(self, camera: _Camera, frame: Frame) -> None:
        if camera.bad_in_a_row:
            self._events.add("good again", frame.source, f"after {camera.bad_in_a_row} bad answers")
        camera.bad_in_a_row = 0

    def _bad(self, camera: _Camera, frame: Frame, reason: str) -> None:
        camera.bad_in_a_row += 1
        if camera.bad_in_a_row == 1:
            self._events.add("bad", frame.source, f"frame {frame.number}: {reason}")
        if camera.bad_in_a_row == self._policy.bad_limit:
            self._events.add("degraded", frame.source, f"{camera.bad_in_a_row} bad answers in a row: {reason}")
            if self._policy.on_bad == "stop":
                self.must_end = "bad answers"

    def _sink(self, processed: Processed, statistics: Statistics) -> None:
        for number, sink in enumerate(self._sinks):
            try:
                sink(processed)
            except Exception as error:  # a sink is the app's: whatever it raises must not end a robot's loop in silence
                statistics.sink_errors += 1
                self._errors_in_a_row[number] += 1
                if self._errors_in_a_row[number] == 1:
                    said = f"{type(error).__name__}: {first_line(error)}"
                    self._events.add("sink error", processed.frame.source, said)
                if self._errors_in_a_row[number] >= self._policy.sink_error_limit:
                    self.must_end = "sink errors"
            else:
                self._errors_in_a_row[number] = 0


def _age_ms(captured_ns: int) -> float:
    return (time.perf_counter_ns() - captured_ns) / 1e6
