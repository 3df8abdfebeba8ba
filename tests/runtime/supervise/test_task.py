"""What a real process cannot be made to do here: hang in the kernel, so that not even SIGKILL ends it; or not begin."""

from __future__ import annotations

import pytest

from edgekit.runtime.loop.events import Events
from edgekit.runtime.supervise import Restarts
from edgekit.runtime.supervise import task as module
from edgekit.runtime.supervise.task import Task


class Stuck:
    """In the place of `Process`: says that it runs, and then nothing; `done` is what was done to it."""

    pid, deaf = 4711, False

    def __init__(self, name, payload):
        self.done, self.messages = [], [{"state": "starting"}, {"state": "running"}]

    def hear(self):
        heard, self.messages = self.messages, []
        return heard

    def ended(self):
        return None

    def signal(self, number):
        self.done.append(number.name)

    def kill(self):
        self.done.append("kill")

    def leave(self):
        self.done.append("leave")


LIMITS = Restarts(silent_s=10, grace_s=5)


def test_what_cannot_be_killed_is_left_and_given_up(monkeypatch):
    monkeypatch.setattr(module, "Process", Stuck)
    events = Events()
    task = Task("see", b"", LIMITS, events)
    task.turn(0)
    process = task.process
    seen = []
    for now_s in (1, 10.9, 11, 11.05, 11.25, 16, 16.5, 21, 21.75, 30):
        task.turn(now_s)
        seen.append((now_s, task.state, *process.done))
    assert seen == [
        (1, "running"),
        (10.9, "running"),
        (11, "stopping", "SIGQUIT"),
        (11.05, "stopping", "SIGQUIT"),
        (11.25, "stopping", "SIGQUIT", "SIGTERM"),
        (16, "stopping", "SIGQUIT", "SIGTERM"),
        (16.5, "stopping", "SIGQUIT", "SIGTERM", "kill"),
        (21, "stopping", "SIGQUIT", "SIGTERM", "kill"),
        (21.75, "given up", "SIGQUIT", "SIGTERM", "kill", "leave"),
        (30, "given up", "SIGQUIT", "SIGTERM", "kill", "leave"),
    ]
    assert [(event.kind, event.message) for event in events.last()[2:4]] == [
        ("ending", "said nothing for 10 s"),
        ("killed", "5 s after SIGTERM"),
    ]
    assert task.why == "said nothing for 10 s; pid 4711 cannot be killed, it hangs in the kernel"
    assert task.untidy
    assert task.process is None


LOOPS = {"state": "running", "age_ms": {"now": None}, "numbers": {}}
RUNS = {"state": "running"}
BEATS = {"state": "running", "numbers": {"turn": 1}}


@pytest.mark.parametrize(("said", "grace_s"), [([LOOPS, RUNS], 1), ([RUNS], 5), ([LOOPS, BEATS], 5)])
def test_a_loop_of_which_no_thread_speaks_has_a_short_grace(monkeypatch, said, grace_s):
    """A thread of its own says how a loop is: where that is silent, SIGTERM cannot be heard either."""
    monkeypatch.setattr(module, "Process", Stuck)
    task = Task("see", b"", LIMITS, Events())
    task.turn(0)
    process = task.process
    process.messages += said
    for now_s in (1, 11, 11.2):
        task.turn(now_s)
    assert process.done == ["SIGQUIT", "SIGTERM"]
    task.turn(11.1 + grace_s)
    assert process.done == ["SIGQUIT", "SIGTERM"]
    task.turn(11.2 + grace_s)
    assert process.done == ["SIGQUIT", "SIGTERM", "kill"]


def test_it_is_turned_in_time(monkeypatch):
    monkeypatch.setattr(module, "Process", Stuck)
    task = Task("see", b"", LIMITS, Events())
    task.turn(0)
    task.turn(1)
    assert task.due_s(4) == pytest.approx(7), "silent since 1 s"
    task.stop(4)
    assert task.due_s(4) == pytest.approx(0.1)


@pytest.fixture
def waiting(monkeypatch) -> Task:
    """A task that the system gave no process."""

    def refused(name, payload):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(module, "Process", refused)
    task = Task("see", b"", LIMITS, Events())
    task.turn(0)
    return task


def test_a_system_that_gives_no_process_is_a_failure(waiting):
    assert waiting.state == "waiting"
    assert waiting.why == "no process: [Errno 11] Resource temporarily unavailable"
    assert 0 < waiting.due_s(0) < 1


def test_what_waits_to_be_started_again_is_ended_without_a_start(waiting):
    waiting.kill(0)
    assert (waiting.state, waiting.over) == ("ended", True)
