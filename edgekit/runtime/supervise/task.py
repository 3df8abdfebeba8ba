"""One task: its process, what that said, and what is to be done about it."""

from __future__ import annotations

import math
import signal
from typing import Any

from edgekit.errors import first_line
from edgekit.runtime.loop.events import Events
from edgekit.runtime.supervise.process import Process, in_words
from edgekit.runtime.supervise.report import TaskReport
from edgekit.runtime.supervise.restarts import Ledger, Restarts

_SOON_S = 0.02  # from the end of its line to the end of its process
_APART_S = 0.1  # a signal right behind another may go to any thread, and then wakes none that sleeps in the main one
_DEAF_S = 1.0  # from SIGTERM to SIGKILL at most where no thread of a loop's process speaks: Python's lock is held
_PROPER = (signal.SIGTERM, signal.SIGINT)  # also sent by others, such as systemd to a whole unit


class Task:
    """Turned by the supervisor's thread. `now_s` is of `time.monotonic`.

    starting -> running | blind | degraded | hung -> stopping -> waiting -> starting … or ended, or given up.
    """

    def __init__(self, name: str, payload: bytes, restarts: Restarts, events: Events) -> None:
        self.name, self.state, self.why = name, "waiting", ""
        self.ran = self.untidy = False  # ran once; its last process did not end in order when it was told to
        self.process: Process | None = None
        self._payload, self._restarts, self._events = payload, restarts, events
        self._ledger = Ledger(restarts)
        self._told = False
        self._until_s = -math.inf  # the end of a pause
        self._loop: dict[str, Any] = {}
        self._forget(0.0)

    def _forget(self, now_s: float) -> None:
        """All that concerns one process alone."""
        self._said: dict[str, Any] = {}
        self._aged_s = now_s  # when it last said its ages
        self._end: dict[str, Any] | None = None
        self._failure = ""  # why it is being ended
        self._loops = False  # a loop runs, for which a thread speaks
        self._grace_s = self._restarts.grace_s
        self._start_s = self._heard_s = self._since_s = now_s  # _since_s: in its present state
        self._ran_s: float | None = None  # since when it runs
        self._quit_s: float | None = None  # when it was asked where it is, before it is told to end
        self._term_s: float | None = None  # when it was told
        self._kill_s: float | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state in ("ended", "given up")

    @property
    def stops_all(self) -> bool:
        """Whether the other tasks are to end because it was given up."""
        return self.state == "given up" and self._restarts.on_give_up == "stop"

    @property
    def _ending(self) -> bool:
        return self._term_s is not None or self._quit_s is not None

    def turn(self, now_s: float) -> None:
        """Hear, judge, act."""
        if self.over:
            return
        if self.process is None:
            if now_s >= self._until_s:
                self._start(now_s)
            return
        deaf = self.process.deaf
        for message in self.process.hear():
            self._hear(message, now_s)
        if self.process.deaf and not deaf:
            self._heard_s = now_s
        found = self.process.ended()
        if found is not None:
            for message in self.process.hear():  # what it said between the two
                self._hear(message, now_s)
            self._conclude(found, now_s)
        elif self._term_s is not None:
            self._press(now_s)
        elif self._quit_s is not None:
            if now_s - self._quit_s >= _APART_S:
                self._tell(now_s)
        elif why := self._overdue(now_s):
            self._fail(why, now_s)

    def stop(self, now_s: float) -> None:
        """Let it drain, and start it no more."""
        self._told = True
        if self.process is None:
            self._over("ended", "")
        elif self._term_s is None:
            self._tell(now_s)

    def kill(self, now_s: float) -> None:
        """End it at once."""
        self._told = True
        if self.process is None:
            self._over("ended", "")
        elif self._kill_s is None:
            self._kill(now_s)

    def due_s(self, now_s: float) -> float:
        """Seconds until it has to be turned even if nobody says anything."""
        if self.over:
            return math.inf
        if self.process is None:
            return self._until_s - now_s
        if self.process.deaf and now_s - self._heard_s < 1:
            return _SOON_S
        return _APART_S if self._ending else self._limit()[0] - now_s

    def snapshot(self, now_s: float) -> dict[str, Any]:
        """As in the state's file."""
        return {
            "state": self.state,
            "pid": self.process.pid if self.process else None,
            "restarts": self._ledger.count,
            "why": self.why,
            "seconds": round(now_s - self._start_s, 3) if self.process else 0.0,
            "age_ms": self._age_ms(now_s),
            "numbers": self._said.get("numbers", {}),
            "session": self._said.get("session", {}),
            "events": self._said.get("events", []),
        }

    def _age_ms(self, now_s: float) -> dict[str, Any]:
        """As the loop said, but for what passed since: a process that hangs says nothing more."""
        said: dict[str, Any] = self._said.get("age_ms", {})
        if said.get("now") is None:
            return said
        return {**said, "now": round(said["now"] + (now_s - self._aged_s) * 1e3, 3)}

    def report(self) -> TaskReport:
        """At the end."""
        return TaskReport(self.state, self._ledger.count, self.why, self._loop)

    def _start(self, now_s: float) -> None:
        self._forget(now_s)
        self._set("starting")
        try:
            self.process = Process(self.name, self._payload)
        except OSError as error:
            self._failed(f"no process: {first_line(error)}", now_s)
            return
        self._events.add("started", self.name, f"pid {self.process.pid}")

    def _hear(self, message: dict[str, Any], now_s: float) -> None:
        self._heard_s = now_s
        self._said.update(message)
        self._aged_s = now_s if "age_ms" in message else self._aged_s
        self._loops = "age_ms" in message if "numbers" in message else self._loops
        self._end = message.get("end", self._end)
        self._loop = message.get("report", self._loop)
        state = message.get("state", self.state)
        if state == self.state or self._ending:
            return
        if state == "running" and self._ran_s is None:
            self._ran_s, self.ran = now_s, True
        self._since_s = now_s
        self._set(state)
        why = _last_words(self._said) if state in ("blind", "hung", "degraded") else ""
        self._events.add(state, self.name, why)

    def _limit(self) -> tuple[float, str]:
        """Until when something has to change, and what is wrong if it does not."""
        limits = self._restarts
        if self._end is not None:
            return self._heard_s + limits.grace_s, f"returned, but did not end within {limits.grace_s:g} s"
        if self.state == "starting":
            return self._start_s + limits.start_s, f"did not run within {limits.start_s:g} s"
        if self.state == "stopping":
            return self._heard_s + limits.start_s, f"its loop ended, but the task did not within {limits.start_s:g} s"
        silent = self._heard_s + limits.silent_s, f"said nothing for {limits.silent_s:g} s"
        useless_s = {"hung": limits.hung_s, "degraded": limits.degraded_s}.get(self.state)
        if useless_s is None:
            return silent
        why = f"{self.state} for {useless_s:g} s: {_last_words(self._said)}"
        return min(silent, (self._since_s + useless_s, why))

    def _overdue(self, now_s: float) -> str:
        limit_s, why = self._limit()
        return why if now_s >= limit_s else ""

    def _fail(self, why: str, now_s: float) -> None:
        """End a process that will not help itself; one that said its end only lingers, and that end stands."""
        if self._end is None:
            self._failure = why
            self._events.add("ending", self.name, why)
            if self._loops and now_s - self._heard_s >= self._restarts.silent_s:
                self._grace_s = min(self._grace_s, _DEAF_S)
        else:
            self._events.add("lingers", self.name, why)
        if not self._said or self.process is None:
            self._tell(now_s)
            return
        self._set("stopping")
        self._quit_s = now_s
        self.process.signal(signal.SIGQUIT)  # it writes to stderr where its threads are

    def _tell(self, now_s: float) -> None:
        assert self.process is not None
        self._set("stopping")
        self._term_s = now_s
        self.process.signal(signal.SIGTERM)

    def _press(self, now_s: float) -> None:
        """It was told to end, and has not."""
        assert self._term_s is not None
        if self._kill_s is None:
            if now_s - self._term_s >= self._grace_s:
                self._events.add("killed", self.name, f"{self._grace_s:g} s after SIGTERM")
                self._kill(now_s)
        elif now_s - self._kill_s >= self._restarts.grace_s:
            self._abandon(now_s)

    def _kill(self, now_s: float) -> None:
        assert self.process is not None
        self._term_s = now_s if self._term_s is None else self._term_s
        self._kill_s = now_s
        self._set("stopping")
        self.process.kill()

    def _abandon(self, now_s: float) -> None:
        """Not even SIGKILL ends what hangs in the kernel, as in a driver; a new process would find the device taken."""
        assert self.process is not None
        self.untidy = True
        why = f"pid {self.process.pid} cannot be killed, it hangs in the kernel"
        self.process.leave()
        self.process = None
        self._over("given up", f"{self._failure}; {why}" if self._failure else why)

    def _conclude(self, found: tuple[int, int], now_s: float) -> None:
        assert self.process is not None
        self.process.clear()
        self.process = None
        end = self._end or {}
        why = self._failure or end.get("why", "") or ("" if self._end else in_words(*found))
        signalled = bool(end.get("told")) or (not self._end and found[1] in _PROPER)
        proper = not self._failure and (end.get("good", False) or signalled)
        if self._told:
            self.untidy = not proper
            self._over("ended", end.get("why", "") if proper else why)
        elif proper and signalled:  # by someone else: systemd tells us too, and before the pause is over
            self._failed("ended by a signal that was not its supervisor's", now_s)
        elif proper:
            self._over("ended", "")
        elif end.get("final") and not self._failure:
            self._over("given up", why)
        else:
            self._failed(why, now_s)

    def _failed(self, why: str, now_s: float) -> None:
        if self._told:
            self._over("ended", why)
            return
        ran_s = 0.0 if self._ran_s is None else now_s - self._ran_s
        wait_s = self._ledger.failed(now_s, ran_s)
        if wait_s is None:
            most, within_s = self._restarts.most, self._restarts.within_s
            self._over("given up", f"{why}; after {most} restarts within {within_s:g} s")
            return
        self.why = why
        self._until_s = now_s + wait_s
        self._set("waiting")
        self._events.add("failed", self.name, f"{why}; again in {wait_s:.1f} s")

    def _over(self, state: str, why: str) -> None:
        self.why = why or self.why
        self._set(state)
        self._events.add(state, self.name, why)

    def _set(self, state: str) -> None:
        self.state = state


def _last_words(said: dict[str, Any]) -> str:
    events = said.get("events") or [{}]
    return str(events[-1].get("message", ""))
