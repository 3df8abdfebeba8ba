"""What a task is called with, without a process around it."""

from __future__ import annotations

import signal

import pytest

from edgekit.runtime.supervise import Restarts, Worker, wire


@pytest.fixture
def worker():
    above, below = wire.pair()
    before = signal.getsignal(signal.SIGALRM)
    with above, below:
        yield Worker("see", below, Restarts()), lambda: [message for message in wire.heard(above) if message]
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert signal.getsignal(signal.SIGALRM) == before


def test_only_the_first_sigterm_interrupts_so_that_what_is_closed_can_be(worker):
    worker, _ = worker
    with pytest.raises(SystemExit):
        worker.terminate(signal.SIGTERM, None)
    worker.terminate(signal.SIGTERM, None)
    assert worker.told
    with pytest.raises(SystemExit):
        worker.beat()


def test_a_task_that_beats_is_not_interrupted_between_beats(worker):
    worker, said = worker
    worker.beat(turn=1)
    worker.terminate(signal.SIGTERM, None)
    with pytest.raises(SystemExit):
        worker.beat(turn=2)
    assert said() == [{"state": "running", "numbers": {"turn": 1}}]


def test_beats_are_few_and_the_alarm_is_later_than_the_supervisor(worker):
    worker, said = worker
    for turn in range(1000):
        worker.beat(turn=turn)
    assert 1 <= len(said()) < 100
    limits = Restarts()
    left_s = signal.getitimer(signal.ITIMER_REAL)[0]
    assert limits.silent_s + limits.grace_s < left_s <= limits.silent_s + limits.grace_s + 2
