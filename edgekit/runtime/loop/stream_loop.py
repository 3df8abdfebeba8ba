"""The loop itself: capture threads around one thread that computes, and an account of every frame."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from edgekit.errors import DataError, SessionError, ShapeError, UsageError
from edgekit.runtime.loop.delivery import Delivery, Sink
from edgekit.runtime.loop.events import Events, Listener
from edgekit.runtime.loop.intake import Intake
from edgekit.runtime.loop.policy import Policy
from edgekit.runtime.loop.replaceable import Replaceable
from edgekit.runtime.loop.report import LoopReport
from edgekit.runtime.loop.session_work import SessionWork
from edgekit.runtime.loop.signals import stopping_on_signals
from edgekit.runtime.loop.statistics import Statistics
from edgekit.runtime.loop.swap import Check, Open, Swap
from edgekit.runtime.loop.watchdog import Watchdog
from edgekit.runtime.loop.work import Abandoned, Done, Frames, Function, FunctionWork
from edgekit.runtime.runner import Timing
from edgekit.runtime.session import Session
from edgekit.runtime.sources.frame import Source


class StreamLoop:
    """Runs once, in the thread that calls `run` and owns the session; closes its sources at the end.

    `work` is a Session, or a function that takes a list of frames, one for each source and None for one that is left
    out, and returns as many answers. `sinks` are called with each `Processed`, in the loop's thread: what they do takes
    its time. `on_event` hears of an `Event` in the thread that saw it; it may call `stop`.
    """

    def __init__(
        self,
        sources: Source | Sequence[Source],
        work: Session | Function,
        sinks: Sink | Sequence[Sink] = (),
        policy: Policy = Policy(),
        on_event: Listener | None = None,
    ) -> None:
        given = tuple(sources) if isinstance(sources, Sequence) else (sources,)
        if not all(hasattr(source, "frames") for source in given):
            raise UsageError(f"expected sources of frames, found {sources!r}", "open_source(…)")
        if not callable(work) and not isinstance(work, Session):
            raise UsageError(
                f"expected a Session or a function as work, found {type(work).__name__}", "Session.open(…)"
            )
        if not given or len({source.name for source in given}) < len(given):
            names = ", ".join(source.name for source in given) or "none"
            raise UsageError(
                f"expected at least one source, each with a name of its own, found {names}", "source.name = …"
            )
        self.events = Events(on_event)
        self._intake = Intake(given, policy, self.events)
        self._statistics = Statistics(self._intake.slots, self._intake.names, policy.deadline_ms)
        self._names = ", ".join(self._intake.names)
        self._watchdog = Watchdog(policy.watchdog_ms, self.events, self._names)
        self._delivery = Delivery((sinks,) if callable(sinks) else tuple(sinks), len(given), policy, self.events)
        self._deadline_ms = policy.deadline_ms

        def work_of(session: Session) -> SessionWork:
            return SessionWork(session, len(given), policy, lambda: bool(self._told()))

        first = FunctionWork(work) if callable(work) else work_of(work)
        self._work = Replaceable(first, work_of, self.events)
        self._stop = self._ended = ""
        self._most_frames: int | None = None
        self._start_ns = self._stop_ns = 0
        self._end_ns: int | None = None

    def run(self, frames: int | None = None, seconds: float | None = None) -> LoopReport:
        """Answer frames until the sources end, so many are processed, so much time is over, or `stop` is called.

        The frame under way is finished, what waits is dropped. An error of a session or a frame that does not fit is a
        bad answer, as the policy says; any other error of the work ends the loop and is raised, and `report` still
        tells. Raises SessionError for a loop that has run.
        """
        if self._start_ns:
            raise SessionError("expected a loop that has not run yet, found one that has", "another StreamLoop")
        self._most_frames = frames
        self._start_ns = time.perf_counter_ns()
        self._end_ns = None if seconds is None else self._start_ns + round(seconds * 1e9)
        try:
            self._work.prepare()
            self._intake.start()
            self._watchdog.start()
            while not self._over():
                turn = self._intake.take()
                if turn:
                    self._turn(turn)
            self._ended = self._over()
        except BaseException as error:
            self._ended = type(error).__name__
            raise
        finally:
            self._finish()
        return self.report()

    def stop(self, why: str = "stopped") -> None:
        """End the loop soon, from any thread or a signal handler: it takes no lock."""
        self._stop = self._stop or why

    def swap(self, opens: Open, check: Check | None = None, trial: int = 30) -> Swap:
        """Let another bundle take over, `loop.swap(lambda: Session.open(new), Golden.load(…))`; from any thread.

        Beside the loop it is opened, checked (`check` raises what is wrong), warmed up, and refused where it is slower
        than the deadline. Then it answers, on trial: at the first bad answer or error in so many turns the old one is
        back and answers that very frame; after them the old session is closed. For as long there are two networks in
        memory. Raises UsageError while another swap is under way, and for a loop whose work is a function.
        """
        return self._work.begin(opens, check, trial, self._deadline_ms)

    def signals(self) -> AbstractContextManager[None]:
        """While inside, the first SIGINT or SIGTERM stops the loop, one half a second later or more raises
        KeyboardInterrupt."""
        return stopping_on_signals(self.stop)

    def note(self, kind: str, message: str, source: str = "") -> None:
        """Add an event of the app or of a source, such as that it was opened anew; from any thread."""
        self.events.add(kind, source, message)

    @property
    def state(self) -> str:
        """new, running, blind (a source is lost or silent), degraded (no good answer for long), hung (an inference or a
        sink does not end), or ended."""
        if self._watchdog.hung:
            return "hung"
        if self._stop_ns:
            return "ended"
        if not self._start_ns:
            return "new"
        if self._delivery.degraded:
            return "degraded"
        return "blind" if self._intake.blind() else "running"

    def snapshot(self) -> dict[str, Any]:
        """All counts of one moment, as `Statistics.snapshot` gives them; any thread may ask."""
        return self._statistics.snapshot()

    def ages(self) -> dict[str, float | None]:
        """How old the last answer is `now`, and p50, p99 and max of all ages, in ms, as `Statistics.ages` has them."""
        return self._statistics.ages()

    def health(self) -> dict[str, Any]:
        """The state, what happened how often, and the session's own account; any thread may ask."""
        return {"state": self.state, "events": self.events.counts(), "session": self._work.health()}

    def report(self) -> LoopReport:
        """What there is to say so far; after `run`, of all of it."""
        end_ns = self._stop_ns or time.perf_counter_ns()
        return self._statistics.report(
            ended=self._ended,
            state=self.state,
            seconds=round((end_ns - (self._start_ns or end_ns)) / 1e9, 3),
            events=self.events.last(),
            event_counts=self.events.counts(),
            health=self._work.health(),
        )

    def _turn(self, frames: Frames) -> None:
        start_ns = time.perf_counter_ns()
        abandoned = False
        self._watchdog.begin()
        try:
            done = self._work(frames)
        except Abandoned:
            abandoned = True
            self.events.add("abandoned", self._names, "the inference under way does not end")
            return
        except (SessionError, DataError, ShapeError) as error:
            timing = Timing(start_ns, time.perf_counter_ns())
            done = Done([None] * len(frames), [False] * len(frames), timing, error.problem)
        finally:
            self._watchdog.end(abandoned=abandoned)
        self._statistics.resets = self._work.resets
        self._watchdog.begin("the sinks")
        try:
            self._delivery.give(frames, done, self._statistics)
        finally:
            self._watchdog.end()

    def _over(self) -> str:
        """Why the loop is to end; empty while it is not."""
        if why := self._told() or self._delivery.must_end:
            return why
        if self._most_frames is not None and self._statistics.processed >= self._most_frames:
            return "frames"
        if self._intake.wrong():
            return "wrong source"
        if self._intake.exhausted():
            return "source lost" if self._intake.lost() else "sources ended"
        return ""

    def _told(self) -> str:
        """Why the loop is to end even if an inference hangs."""
        timed_out = self._end_ns is not None and time.perf_counter_ns() >= self._end_ns
        return self._stop or ("seconds" if timed_out else "")

    def _finish(self) -> None:
        try:
            self._intake.stop()
        finally:  # also where a second signal interrupts that
            self._watchdog.stop()
            self._work.close()
            self._statistics.settle()
            self._stop_ns = time.perf_counter_ns()
