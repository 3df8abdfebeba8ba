"""What a supervisor says at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgekit.reports import plain
from edgekit.runtime.loop.events import Event


@dataclass(frozen=True)
class TaskReport:
    """One task. `why` is its last failure, empty where there was none. `loop` is the LoopReport of its last process as
    JSON values, with the last twenty events; empty where that process went without a word."""

    state: str
    restarts: int
    why: str
    loop: dict[str, Any]


@dataclass(frozen=True)
class SuperviseReport:
    """`ended` says why; `code` is an exit code: 0 where all tasks came to an end of their own or as they were told to,
    1 where one was given up or did not end in order, 130 where a second signal killed all."""

    ended: str
    code: int
    seconds: float
    tasks: dict[str, TaskReport]
    events: tuple[Event, ...]
    event_counts: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {"stage": "supervise", **plain(self)}
