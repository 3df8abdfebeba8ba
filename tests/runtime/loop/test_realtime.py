"""No garbage collection inside, everything as before outside."""

from __future__ import annotations

import gc
import os
import threading

import pytest

from edgekit.runtime.loop import realtime


@pytest.fixture(autouse=True)
def thawed():
    assert gc.isenabled()
    yield
    gc.enable()
    gc.unfreeze()


def test_the_collector_rests_inside_and_works_again_outside():
    before = gc.get_freeze_count()
    with realtime() as got:
        assert not gc.isenabled()
        assert gc.get_freeze_count() > before + 1000
    assert gc.isenabled()
    assert gc.get_freeze_count() == before
    assert (got.scheduler, got.niceness) == ("", "")


def test_it_is_restored_after_an_exception():
    with pytest.raises(KeyboardInterrupt), realtime():
        raise KeyboardInterrupt
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_contexts_may_be_nested_and_only_the_outermost_restores():
    with realtime():
        frozen = gc.get_freeze_count()
        with realtime():
            pass
        assert not gc.isenabled()
        # What is referred to no longer goes in between, also of what is frozen; a thaw would leave none.
        assert gc.get_freeze_count() > frozen // 2
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_what_the_app_had_switched_off_or_frozen_stays_so():
    gc.disable()
    gc.freeze()
    with realtime():
        pass
    assert not gc.isenabled()
    assert gc.get_freeze_count() > 1000


def in_a_thread(function):
    """Run it in a thread of its own, whose priority dies with it."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_a_scheduler_that_is_asked_for_is_set_and_restored_or_refused_with_the_reason():
    def ask():
        before = os.sched_getscheduler(0)
        with realtime(fifo_priority=5) as got:
            inside = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
        return got.scheduler, before, inside, os.sched_getscheduler(0)

    said, before, inside, after = in_a_thread(ask)
    assert after == before == os.SCHED_OTHER
    assert inside == (os.SCHED_FIFO, 5) if said == "SCHED_FIFO 5" else said.startswith("refused: ")


def test_a_system_that_refuses_is_no_error(monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "setpriority", refuse)
    with realtime(fifo_priority=5, niceness=-5) as got:
        assert not gc.isenabled()
    assert (got.scheduler, got.niceness) == ("refused: Operation not permitted",) * 2
    assert gc.isenabled()


def test_a_priority_out_of_range_is_refused_and_told():
    with realtime(fifo_priority=1000) as got:
        pass
    assert got.scheduler == "refused: Invalid argument"


def test_niceness_is_of_this_thread_alone_and_is_restored_where_the_system_lets_it():
    def ask():
        thread = threading.get_native_id()
        before = os.getpriority(os.PRIO_PROCESS, thread)
        with realtime(niceness=before + 3) as got:
            inside = os.getpriority(os.PRIO_PROCESS, thread)
        after = os.getpriority(os.PRIO_PROCESS, thread)
        return got.niceness, before, inside, after

    of_main = os.getpriority(os.PRIO_PROCESS, threading.main_thread().native_id)
    said, before, inside, after = in_a_thread(ask)
    assert (said, inside) == (str(before + 3), before + 3)
    assert after in ((before,) if os.geteuid() == 0 else (before, before + 3))
    assert os.getpriority(os.PRIO_PROCESS, threading.main_thread().native_id) == of_main
