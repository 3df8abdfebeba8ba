"""What a loop does with the frames of one turn: a function of the app, or a Session."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgekit.errors import UsageError
from edgekit.runtime.loop.guard import Guard
from edgekit.runtime.runner import Timing
from edgekit.runtime.sources.frame import Frame

Frames = Sequence["Frame | None"]
Function = Callable[[Frames], Sequence[Any]]


class Abandoned(Exception):
    """The inference under way does not end, and the loop was told to stop."""


@dataclass(frozen=True)
class Done:
    """One answer for each camera, and whether it is good; `reason` says why those are not that are not, but for
    cameras with a reason of their own, such as a frame of the wrong shape."""

    answers: Sequence[Any]
    good: Sequence[bool]
    timing: Timing
    reason: str = "NaN or infinity in the answer"
    own_reasons: Mapping[int, str] = field(default_factory=dict)

    def why(self, slot: int) -> str:
        """What is wrong with a camera's answer that is not good."""
        return self.own_reasons.get(slot, self.reason)


class Work(Protocol):
    """One turn of the loop, in the loop's thread. `frames` has None for a camera that is left out."""

    @property
    def resets(self) -> int:
        """How often states began anew."""

    @property
    def backend(self) -> str:
        """Who computes; empty for a function."""

    def prepare(self) -> None:
        """What is done once, before the first frame."""

    def __call__(self, frames: Frames) -> Done:
        """Answer the frames. Raises Abandoned, and EdgekitErrors."""

    def health(self) -> dict[str, Any]:
        """The session's, from any thread; empty without one."""


class FunctionWork:
    """A function `work(frames) -> answers`, one for each camera. It cannot be interrupted while it runs."""

    resets = 0
    backend = ""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._guard = Guard()

    def prepare(self) -> None:
        """Nothing: the function does that itself."""

    def __call__(self, frames: Frames) -> Done:
        """Call the function. Raises UsageError where it does not give an answer for each camera."""
        start_ns = time.perf_counter_ns()
        answers = self._function(frames)
        timing = Timing(start_ns, time.perf_counter_ns())
        if not isinstance(answers, Sequence) or len(answers) != len(frames):
            found = f"{len(answers)}" if isinstance(answers, Sequence) else type(answers).__name__
            raise UsageError(
                f"expected a list of {len(frames)} answers of the loop's function, one a camera, found {found}",
                "return [answer]",
            )
        return Done(answers, [self._guard.good(answer) for answer in answers], timing)

    def health(self) -> dict[str, Any]:
        """A function has none."""
        return {}
