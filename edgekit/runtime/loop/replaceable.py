"""The work of a loop, which can become another between two turns, and back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgekit.errors import UsageError, words
from edgekit.runtime.loop.events import Events
from edgekit.runtime.loop.session_work import SessionWork
from edgekit.runtime.loop.swap import Check, Open, Swap, close, load
from edgekit.runtime.loop.work import Abandoned, Done, Frames, Work
from edgekit.runtime.session import Session

_JOIN_S = 10.0  # a loop that ends waits so long for sessions that are being opened or closed


@dataclass
class _Trial:
    """A network that is tried for so many more good turns, and the work that it replaced."""

    swap: Swap
    left: int
    loaded: SessionWork
    before: Work


class Replaceable:
    """Called from the loop's thread, but for `begin` and `health`. `work_of` makes the work of another session.

    A session that is replaced for good is closed, and so is one that failed: beside the loop, since giving an engine
    back takes longer than a frame.
    """

    def __init__(self, work: Work, work_of: Callable[[Session], SessionWork], events: Events) -> None:
        self._work, self._work_of, self._events = work, work_of, events
        self._backend = ""
        self._lock = threading.Lock()
        self._busy = self._closed = False  # a swap is under way; none can begin any more
        self._waiting: _Trial | None = None  # loaded, for the next turn to take
        self._trial: _Trial | None = None
        self._ours: Session | None = None  # the one that computes, where it was opened here
        self._resets = 0  # of works that are gone
        self._threads: list[threading.Thread] = []
        self._last_health: dict[str, Any] | None = None

    @property
    def resets(self) -> int:
        """See `Work`; of all that there were."""
        before = self._trial.before.resets if self._trial else 0
        return self._resets + before + self._work.resets

    @property
    def backend(self) -> str:
        """See `Work`."""
        return self._work.backend

    def prepare(self) -> None:
        """See `Work`."""
        self._work.prepare()
        self._backend = self.backend

    def health(self) -> dict[str, Any]:
        """See `Work`; after the end, as it was then."""
        return self._work.health() if self._last_health is None else self._last_health

    def begin(self, opens: Open, check: Check | None, trial: int, limit_ms: float | None) -> Swap:
        """As `StreamLoop.swap` says."""
        if trial < 1:
            raise UsageError(f"expected a trial of at least 1 turn, found {trial}")
        if not isinstance(self._work, SessionWork):
            raise UsageError("expected a loop whose work is a Session, found a function", "swap within the function")
        with self._lock:
            if self._busy or self._closed:
                if self._closed:
                    raise UsageError("expected a loop for a swap, found one that has ended", "another StreamLoop")
                raise UsageError("expected a loop for a swap, found one with a swap under way", "swap.wait()")
            self._busy = True
        swap = Swap()
        self._beside(lambda: self._load(swap, opens, check, trial, limit_ms))
        return swap

    def __call__(self, frames: Frames) -> Done:
        """Answer the frames; those of a turn that fails in a trial are answered by the work from before it."""
        if self._waiting is not None:
            self._try()
        done = self._work(frames) if self._trial is None else self._tried(self._trial, frames)
        if self._work.backend != self._backend:
            self._backend = self._work.backend
            self._events.add("fallback", message=str(self._work.health().get("degraded", "")))
        return done

    def close(self) -> None:
        """Close what was opened here, and wait for what is being opened; a trial that has not ended is undone."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, None
        self._last_health = self._work.health()
        if waiting is not None:
            self._refuse(waiting.swap, "the loop ended")
            self._let_go(waiting.loaded.session)
        if self._trial is not None:
            self._undo(self._trial, "the loop ended")
        if self._ours is not None:
            close(self._ours)
        end_s = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))

    def _load(self, swap: Swap, opens: Open, check: Check | None, trial: int, limit_ms: float | None) -> None:
        """A thread of its own."""
        try:
            loaded = load(opens, check, self._work_of, limit_ms)
        except Exception as error:  # also what the app's own functions raise
            self._refuse(swap, words(error))
            return
        with self._lock:
            late = self._closed
            if not late:
                self._waiting = _Trial(swap, trial, loaded, self._work)
        if late:
            self._refuse(swap, "the loop ended")
            close(loaded.session)

    def _try(self) -> None:
        with self._lock:
            trial, self._waiting = self._waiting, None
        assert trial is not None, "only the loop's thread takes it"
        self._trial, self._work = trial, trial.loaded
        self._backend = self.backend
        trial.swap.state = "trial"
        self._events.add("swapped", message=f"on trial for {trial.left} good turns, on {self.backend}")

    def _tried(self, trial: _Trial, frames: Frames) -> Done:
        try:
            done = self._work(frames)
        except Abandoned:
            raise
        except Exception as error:  # also of postprocessing that does not fit
            reason = words(error)
        else:
            bad = [slot for slot, frame in enumerate(frames) if frame is not None and not done.good[slot]]
            if not bad:
                trial.left -= 1
                if not trial.left:
                    self._keep(trial)
                return done
            reason = done.why(bad[0])
        self._undo(trial, reason)
        return self._work(frames)

    def _keep(self, trial: _Trial) -> None:
        self._resets += trial.before.resets
        assert isinstance(trial.before, SessionWork), "`begin` takes no other"
        self._trial, self._ours = None, trial.loaded.session
        self._let_go(trial.before.session)
        self._decide(trial.swap, "kept", "swap kept")

    def _undo(self, trial: _Trial, reason: str) -> None:
        self._resets += self._work.resets
        self._trial, self._work = None, trial.before
        self._backend = self.backend
        self._let_go(trial.loaded.session)
        self._decide(trial.swap, "undone", "swap undone", reason)

    def _refuse(self, swap: Swap, reason: str) -> None:
        self._decide(swap, "refused", "swap refused", reason)

    def _decide(self, swap: Swap, state: str, event: str, reason: str = "") -> None:
        self._busy = False
        self._events.add(event, message=reason)
        swap.decide(state, reason)

    def _let_go(self, session: Session) -> None:
        """Close a session of the loop's thread in another one."""
        try:
            session.hand_over()
        except Exception:  # such as one whose device is gone
            close(session)
        else:
            self._beside(lambda: close(session))

    def _beside(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="swap", daemon=True)
        self._threads = [known for known in self._threads if known.is_alive()] + [thread]
        thread.start()
