"""What a loop gives for a frame, and what it says at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from edgekit.reports import plain
from edgekit.runtime.loop.events import Event
from edgekit.runtime.runner import Timing
from edgekit.runtime.sources.frame import Frame

_TROUBLE = ("failed source", "lost source", "bad", "degraded", "sink error")
FAILURES = ("source lost", "wrong source", "bad answers", "sink errors")


class Processed(NamedTuple):
    """One answer, as sinks get it.

    Where `held`, there is no good answer to `frame`: `answer` is the last good one, None if there was none yet.
    `age_ms` counts from the capture of what was answered, so a held answer gets older. A camera of several that has no
    new frame, such as a slower one, is not given again. `timing` is that of the inference, or of the whole function
    where the work is one.
    """

    frame: Frame
    answer: Any
    age_ms: float
    timing: Timing
    held: bool


@dataclass(frozen=True)
class Spread:
    """Milliseconds: of the last `n` values the median and the 99th percentile, both by nearest rank; `max` of all."""

    n: int
    p50: float
    p99: float
    max: float


@dataclass(frozen=True)
class SourceReport:
    """The frames of one source: captured = processed + dropped."""

    name: str
    captured: int
    processed: int
    dropped: int


@dataclass(frozen=True)
class LoopReport:
    """captured = processed + dropped, over all sources; `ended` says why the loop did.

    held          answers that are older ones, because theirs were bad
    left_out      turns in which a camera had no new frame, so that sinks heard nothing of it
    bad           inferences that failed, or gave NaN or infinity
    resets        how often a network with states began anew
    events        the last thousand; `event_counts` counts all, by kind
    health        the session's own, empty for a function
    """

    ended: str
    state: str
    seconds: float
    captured: int
    processed: int
    dropped: int
    held: int
    left_out: int
    bad: int
    resets: int
    deadline_misses: int
    sink_errors: int
    age_ms: Spread
    compute_ms: Spread
    sources: tuple[SourceReport, ...]
    events: tuple[Event, ...]
    event_counts: dict[str, int]
    health: dict[str, Any]

    @property
    def failed(self) -> str:
        """Why the loop had to end, or that no answer was good; empty where it came to its end or was stopped."""
        if self.ended in FAILURES:
            return self.ended
        return "no good answer" if self.processed and self.held == self.processed else ""

    @property
    def last_trouble(self) -> str:
        """The last event that says what went wrong, in words; empty where none did."""
        return next((event.message for event in reversed(self.events) if event.kind in _TROUBLE and event.message), "")

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {"stage": "loop", **plain(self)}
