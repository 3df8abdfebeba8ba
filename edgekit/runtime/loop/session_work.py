"""A Session as the work of a loop: frames into batch positions, one inference, one answer for each camera."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgekit.errors import DataError, EdgekitError, SessionError, ShapeError, UsageError
from edgekit.runtime.backend import Array
from edgekit.runtime.loop.guard import Guard
from edgekit.runtime.loop.policy import Policy
from edgekit.runtime.loop.work import Abandoned, Done, Frames
from edgekit.runtime.runner import Timing
from edgekit.runtime.session import Session
from edgekit.runtime.sources.frame import Frame
from edgekit.specs import AudioPreprocess, SeriesPreprocess, described

if TYPE_CHECKING:
    from edgekit.preprocess import Windows


class SessionWork:
    """Camera i is batch position i. `told` says whether the loop is to end even so, while an inference hangs.

    An answer is what the bundle makes of its batch position, else a dict of copies of it in all outputs. A network with
    states makes a step of each frame; of a sound or a series a step of each window that a chunk completes, and the
    answer is the list of theirs.
    """

    def __init__(self, session: Session, cameras: int, policy: Policy, told: Callable[[], bool]) -> None:
        self.resets = 0
        self.session = session
        self._cameras, self._told = cameras, told
        self._patience_s = None if policy.watchdog_ms is None else policy.watchdog_ms / 1e3
        self._reset_on_gap = policy.reset_on_gap
        self._top = policy.top
        self._guard = Guard()
        self._windows: Windows | None = None
        self._has_states = False
        self._next: int | None = None
        self._batch = cameras

    @property
    def backend(self) -> str:
        """See `Work`."""
        return self.session.backend

    def prepare(self) -> None:
        """Set the batch. Raises UsageError for several cameras of a network with states, ShapeError for too many."""
        session = self.session
        self._has_states = bool(session.carried)
        if self._has_states and self._cameras > 1:  # before its states' shapes, whose batch may be another axis
            raise UsageError(
                f"expected one source for a network with states, found {self._cameras}", "a loop and a Session for each"
            )
        for name, spec in session.inputs.items():
            shape = session.input(name).shape
            if isinstance(spec.shape[0], str) and shape[0] != self._cameras:
                session.set_shape(name, (self._cameras, *shape[1:]))
            elif shape[0] < self._cameras:
                raise ShapeError(f"{name}: expected a batch of {self._cameras}, one a camera, found {spec}")
            self._batch = session.input(name).shape[0]
        if self._has_states and isinstance(session.preprocessing, (AudioPreprocess, SeriesPreprocess)):
            self._windows = session.windows()

    def __call__(self, frames: Frames) -> Done:
        """Answer the frames; as `Work` says."""
        return self._step(frames) if self._has_states else self._infer(frames)

    def health(self) -> dict[str, Any]:
        """The session's."""
        return self.session.health()

    def _infer(self, frames: Frames) -> Done:
        wrong = self._write_all(frames)
        timing = self._wait()
        outputs = {name: self.session.output(name) for name in self.session.outputs}
        good = [usable and slot not in wrong for slot, usable in enumerate(self._judge(outputs))]
        answers = self._answers(outputs, good)
        return Done(
            [None if slot in wrong else answer for slot, answer in enumerate(answers)], good, timing, own_reasons=wrong
        )

    def _write_all(self, frames: Frames) -> dict[int, str]:
        """What is wrong with a frame, by its position: the other cameras are answered. Raises it where none is left."""
        wrong: dict[int, EdgekitError] = {}
        given = [(slot, frame) for slot, frame in enumerate(frames) if frame is not None]
        for slot, frame in given:
            try:
                self._write(frame, slot)
            except (DataError, ShapeError) as error:
                wrong[slot] = error
        if len(wrong) == len(given):
            raise next(iter(wrong.values()))
        return {slot: error.problem for slot, error in wrong.items()}

    def _wait(self) -> Timing:
        ticket = self.session.submit()
        while True:
            try:
                return self.session.wait(ticket, self._patience_s)
            except SessionError:
                if self.session.health()["state"] != "hung":
                    raise
                if self._told():
                    raise Abandoned from None

    def _step(self, frames: Frames) -> Done:
        frame = frames[0]
        assert frame is not None, "a turn of one camera has its frame"
        if self._reset_on_gap and self._next is not None and frame.number != self._next:
            self._begin_anew()
        self._next = frame.number + 1
        start_ns = time.perf_counter_ns()
        try:
            answers, good = self._windows_of(frame) if self._windows else self._one(frame)
        except EdgekitError:
            self._begin_anew()
            raise
        timing = Timing(start_ns, time.perf_counter_ns())
        if not good:  # a NaN in the states would be in all that follows
            self._begin_anew()
        return Done([answers], [good], timing)

    def _one(self, frame: Frame) -> tuple[Any, bool]:
        if self.session.preprocessing is None:
            return self._stepped(frame.data)
        self.session.preprocess(frame.data)
        return self._stepped(None)

    def _windows_of(self, frame: Frame) -> tuple[list[Any], bool]:
        assert self._windows is not None
        answers, all_good = [], True
        for window in self._windows.push(frame.data):
            answer, good = self._stepped(window)
            answers.append(answer)
            all_good = all_good and good
        return answers, all_good

    def _stepped(self, feeds: Array | None) -> tuple[Any, bool]:
        outputs = self.session.step(feeds)
        good = self._judge(outputs)
        return self._answers(outputs, good)[0], good[0]

    def _begin_anew(self) -> None:
        self.session.reset()
        if self._windows is not None:
            self._windows.reset()
        self.resets += 1

    def _write(self, frame: Frame, slot: int) -> None:
        if self.session.preprocessing is not None:
            self.session.preprocess(frame.data, slot)
            return
        if len(self.session.inputs) != 1:
            raise UsageError("expected preprocessing in the bundle, or one input, found neither", "a function as work")
        ((name, spec),) = self.session.inputs.items()
        into = self.session.input(name)
        # NumPy would repeat a row, or round a float, without a word.
        if frame.data.shape != into.shape[1:] or frame.data.dtype != into.dtype:
            raise ShapeError(f"{name}: expected a frame of {spec} without its batch, found {described(frame.data)}")
        into[slot] = frame.data

    def _judge(self, outputs: Mapping[str, Array]) -> list[bool]:
        """Whether each camera's part of all outputs is finite; one without the batch's axis is everybody's."""
        good = [True] * self._cameras
        for array in outputs.values():
            mask = self._guard.mask(array)
            if mask is None:
                continue
            each = self._is_each(array)
            good = [known and each and bool(mask[slot].all()) for slot, known in enumerate(good)]
        return good

    def _answers(self, outputs: Mapping[str, Array], good: Sequence[bool]) -> Sequence[Any]:
        if self.session.postprocessing is None:
            return [
                {name: (array[slot] if self._is_each(array) else array).copy() for name, array in outputs.items()}
                for slot in range(self._cameras)
            ]
        if not any(good):
            return [None] * self._cameras
        for slot, usable in enumerate(good):
            if not usable:  # postprocessing refuses all answers for a NaN in one
                for array in filter(self._is_each, outputs.values()):
                    array[slot] = 0
        answers = self.session.postprocess(self._top)
        return [answer if usable else None for answer, usable in zip(answers, good, strict=False)]

    def _is_each(self, array: Array) -> bool:
        """Whether an output has the batch's axis, rather than being everybody's."""
        return array.ndim > 0 and array.shape[0] == self._batch
