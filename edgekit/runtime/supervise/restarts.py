"""When a task is started again, after which pause, and when no longer."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from edgekit.errors import UsageError, nearest
from edgekit.runtime.sources.reconnecting import Backoff

ON_GIVE_UP = ("stop", "continue")


@dataclass(frozen=True)
class Restarts:
    """Every choice of a supervisor, for all of its tasks or for one.

    start_s       how long a task may take until its loop runs: imports, engine, camera; and to let go of them
    silent_s      a task that says nothing for longer is ended: what hangs may hold Python's lock, and stop all threads
    hung_s        a loop that is `hung` for longer, after its watchdog said so, is ended
    degraded_s    so is one that is `degraded`, without a good answer, as after an error of CUDA that all later calls
                  meet; None leaves it
    grace_s       from SIGTERM to SIGKILL
    most          after so many restarts within `within_s` the next failure gives the task up
    within_s      long enough for `most` pauses of `backoff`, or it never gives up
    well_s        a task that ran for so long begins again at the first pause
    backoff       the pauses
    on_give_up    "stop" ends the other tasks too, "continue" leaves them alone
    """

    start_s: float = 120.0
    silent_s: float = 10.0
    hung_s: float = 2.0
    degraded_s: float | None = 10.0
    grace_s: float = 5.0
    most: int = 5
    within_s: float = 300.0
    well_s: float = 60.0
    backoff: Backoff = Backoff()
    on_give_up: str = "stop"

    def __post_init__(self) -> None:
        if self.on_give_up not in ON_GIVE_UP:
            value = str(self.on_give_up)
            known = ", ".join(ON_GIVE_UP)
            raise UsageError(f"on_give_up: expected {known}, found {value!r}; {nearest(value, ON_GIVE_UP)}")
        if self.most < 0:
            raise UsageError(f"most: expected at least 0, found {self.most}")
        for field in ("start_s", "silent_s", "grace_s", "within_s", "well_s"):
            if not getattr(self, field) > 0:
                raise UsageError(f"{field}: expected seconds above 0, found {getattr(self, field):g}")
        for field in ("hung_s", "degraded_s"):
            limit = getattr(self, field)
            if limit is not None and not limit >= 0:
                raise UsageError(f"{field}: expected seconds from 0 on, found {limit:g}")


class Ledger:
    """The restarts of one task."""

    def __init__(self, restarts: Restarts) -> None:
        self.count = 0
        self._restarts = restarts
        self._times: deque[float] = deque(maxlen=max(1, restarts.most))
        self._waits = restarts.backoff.waits()

    def failed(self, now_s: float, ran_s: float) -> float | None:
        """Seconds until the next start, None where there is none; the task that failed had run for `ran_s`."""
        restarts = self._restarts
        if restarts.most == 0:
            return None
        if len(self._times) == restarts.most and now_s - self._times[0] <= restarts.within_s:
            return None
        if ran_s >= restarts.well_s:
            self._waits = restarts.backoff.waits()
        self._times.append(now_s)
        self.count += 1
        return next(self._waits)
