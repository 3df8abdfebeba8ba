"""Another network for a loop that runs: opened, checked and warmed up beside it."""

from __future__ import annotations

import contextlib
import statistics
import threading
from collections.abc import Callable

from edgekit.errors import SessionError
from edgekit.runtime.loop.session_work import SessionWork
from edgekit.runtime.session import Session

Open = Callable[[], Session]
Check = Callable[[Session], object]

_WARMUP_RUNS = 10


class Swap:
    """What becomes of one. `state` is loading, trial, kept, refused or undone; `reason` says why the last two."""

    def __init__(self) -> None:
        self.state, self.reason = "loading", ""
        self._decided = threading.Event()

    def decide(self, state: str, reason: str = "") -> None:
        """Called by the loop."""
        self.reason, self.state = reason, state
        self._decided.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is kept, refused or undone; False if it is not by then."""
        return self._decided.wait(timeout_s)


def load(
    opens: Open, check: Check | None, work_of: Callable[[Session], SessionWork], limit_ms: float | None
) -> SessionWork:
    """Open, check and warm up, in the thread that calls, to which it does not belong any more in the end.

    Raises whatever goes wrong, and nothing is left open then.

    With `limit_ms`, an inference whose median takes longer than that is an error. It runs beside the loop, on a device
    that both use, so that it rather seems too slow than too fast.
    """
    session = opens()
    try:
        if check is not None:
            check(session)
        work = work_of(session)
        work.prepare()
        median_ms = statistics.median(session.execute().compute_ms for _ in range(_WARMUP_RUNS))
        if limit_ms is not None and median_ms > limit_ms:
            raise SessionError(
                f"expected an inference within the deadline of {limit_ms:g} ms, found {median_ms:.1f} ms"
            )
        session.hand_over()
    except BaseException:
        session.close()
        raise
    return work


def close(session: Session) -> None:
    """Close a session that may have failed."""
    with contextlib.suppress(Exception):
        session.close()
