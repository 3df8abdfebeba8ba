"""The parent: turns its tasks, shows their state, and ends in order."""

from __future__ import annotations

import contextlib
import copy
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from edgekit.errors import SessionError, UsageError, nearest
from edgekit.reports import plain
from edgekit.runtime.loop.events import Events, Listener
from edgekit.runtime.supervise import importing
from edgekit.runtime.supervise.payload import payload_of
from edgekit.runtime.supervise.report import SuperviseReport
from edgekit.runtime.supervise.restarts import Restarts
from edgekit.runtime.supervise.state_file import EVERY_S, StateFile
from edgekit.runtime.supervise.systemd import Notifier
from edgekit.runtime.supervise.task import Task
from edgekit.runtime.supervise.worker import Worker
from edgekit.signals import handling

_EVENTS_SHOWN = 20

Tasks = Mapping[str, Callable[[Worker], object]]
Each = Restarts | Mapping[str, Restarts]


def supervise(
    tasks: Tasks,
    restarts: Each = Restarts(),
    *,
    state: Path | str | None = None,
    on_event: Listener | None = None,
) -> SuperviseReport:
    """Run each task in a process of its own until all have ended, or SIGINT or SIGTERM ends them; main thread only.

    Call it below `if __name__ == "__main__":`, since each process imports the script. See `Supervisor`.
    """
    supervisor = Supervisor(tasks, restarts, state=state, on_event=on_event)
    with supervisor.signals():
        return supervisor.run()


class Supervisor:
    """Starts a task again when its process dies, raises, hangs or falls silent, as `restarts` says: one for all tasks,
    or one for each name, where a task without its own has `Restarts()`.

    `tasks` are functions at the top of a module, each called with a `Worker`. An error that a new process would meet
    again gives the task up at once: UsageError, IntegrityError and a plain EdgekitError, as for a path that is wrong; a
    TargetError may be a camera that is not back yet.
    `state` is a file for the state, see `StateFile`; `on_event` hears of an `Event` in the thread that runs.
    """

    def __init__(
        self,
        tasks: Tasks,
        restarts: Each = Restarts(),
        *,
        state: Path | str | None = None,
        on_event: Listener | None = None,
    ) -> None:
        importing.refuse()
        if not tasks:
            raise UsageError("expected at least one task, found none", 'supervise({"see": see})')
        self.events = Events(on_event)
        each = _each(tasks, restarts)
        since_ns = self.events.start_ns
        payloads = {name: payload_of(name, function, each[name], since_ns) for name, function in tasks.items()}
        self._tasks = [Task(name, payload, each[name], self.events) for name, payload in payloads.items()]
        self._notifier = Notifier()
        self._start_s = self._next_s = self._alive_s = 0.0
        self._stop = self._state = ""
        self._kill = self._ready = False
        self._wake: tuple[int, int] | None = None
        self._shown: list[Any] = []
        self._published = self._snapshot(time.monotonic())
        self._file = None if state is None else StateFile(Path(state), self._published, self.events)

    def run(self) -> SuperviseReport:
        """Until all tasks are over. Raises SessionError for one that has run."""
        if self._start_s:
            raise SessionError("expected a Supervisor that has not run yet, found one that has", "another Supervisor")
        self._start_s = time.monotonic()
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            while True:
                self._turn(time.monotonic())
                if all(task.over for task in self._tasks):
                    break
                self._sleep()
        finally:
            self._clear()
        return self._report()

    def stop(self, why: str = "stopped") -> None:
        """End all tasks in order, from any thread or a signal handler: it takes no lock."""
        self._stop = self._stop or why
        self._rouse()

    def kill(self) -> None:
        """End all tasks at once; as `stop`."""
        self._stop = self._stop or "killed"
        self._kill = True
        self._rouse()

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """While inside, the first SIGINT or SIGTERM ends all tasks in order, the next at once: one half a second later
        or more."""

        def handle(number: int) -> None:
            if self._stop:
                self.kill()
            self.stop(signal.Signals(number).name)

        with handling(handle, handle, "supervisor.stop()"):
            yield

    def state(self) -> dict[str, Any]:
        """As in the state's file, but of now; any thread may ask."""
        return copy.deepcopy(self._published)

    def _turn(self, now_s: float) -> None:
        self._state = "stopping" if self._stop else "running"
        for task in self._tasks:
            task.turn(now_s)
        if any(task.stops_all for task in self._tasks):
            self._stop = self._stop or "given up"
        if self._stop:
            for task in self._tasks:
                if not task.over:
                    task.kill(now_s) if self._kill else task.stop(now_s)
        self._show(now_s)

    def _show(self, now_s: float) -> None:
        self._published = self._snapshot(now_s)
        changed = [(self._state, task.state, task.process) for task in self._tasks]
        if changed != self._shown or now_s >= self._next_s:
            self._shown, self._next_s = changed, now_s + EVERY_S
            if self._file is not None:
                self._file.write(self._published)
            self._notify()
        if self._notifier.every_s is not None and now_s >= self._alive_s:
            self._alive_s = now_s + self._notifier.every_s
            self._notifier.say("WATCHDOG=1")

    def _notify(self) -> None:
        status = "STATUS=" + ", ".join(f"{task.name} {task.state}" for task in self._tasks)
        if self._stop:
            self._notifier.say("STOPPING=1", status)
        elif self._ready or all(task.ran or task.over for task in self._tasks):
            self._ready = True
            self._notifier.say("READY=1", status)
        else:
            self._notifier.say(status)

    def _snapshot(self, now_s: float) -> dict[str, Any]:
        return {
            "state": self._state or "starting",
            "pid": os.getpid(),
            "seconds": round(now_s - (self._start_s or now_s), 3),
            "tasks": {task.name: task.snapshot(now_s) for task in self._tasks},
            "events": plain(self.events.last()[-_EVENTS_SHOWN:]),
        }

    def _sleep(self) -> None:
        assert self._wake is not None
        lines = [task.process.line for task in self._tasks if task.process is not None and not task.process.deaf]
        now_s = time.monotonic()
        alive_s = [self._alive_s - now_s] if self._notifier.every_s is not None else []
        due_s = min(self._next_s - now_s, *alive_s, *(task.due_s(now_s) for task in self._tasks))
        wait([*lines, self._wake[0]], max(0.0, due_s))
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake[0], 4096)

    def _rouse(self) -> None:
        wake = self._wake
        if wake is not None:
            with contextlib.suppress(OSError):  # full: it will wake up; closed: it has ended
                os.write(wake[1], b"x")

    def _clear(self) -> None:
        """Also after an error of our own no process stays."""
        for task in self._tasks:
            if task.process is not None:
                task.process.kill()
                task.process.clear()
        self._state = "ended"
        self._published = self._snapshot(time.monotonic())
        if self._file is not None:
            self._file.write(self._published)
        assert self._wake is not None
        wake, self._wake = self._wake, None
        for fd in wake:
            os.close(fd)

    def _report(self) -> SuperviseReport:
        failed = any(task.untidy or task.state == "given up" for task in self._tasks)
        return SuperviseReport(
            ended=self._stop or "tasks ended",
            code=130 if self._kill else int(failed),
            seconds=round(time.monotonic() - self._start_s, 3),
            tasks={task.name: task.report() for task in self._tasks},
            events=self.events.last(),
            event_counts=self.events.counts(),
        )


def _each(tasks: Tasks, restarts: Each) -> dict[str, Restarts]:
    """By the names of all tasks. Raises UsageError for a name that no task has, and what is no Restarts."""
    if not isinstance(restarts, Mapping):
        restarts = dict.fromkeys(tasks, restarts)
    for name, own in restarts.items():
        if name not in tasks:
            raise UsageError(f"restarts: expected the name of a task, found {name!r}; {nearest(str(name), tasks)}")
        if not isinstance(own, Restarts):
            raise UsageError(f"{name}: expected Restarts, found {own!r}", "Restarts(start_s=300)")
    return {name: restarts.get(name, Restarts()) for name in tasks}
