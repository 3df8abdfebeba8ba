"""Fewer pauses while a loop runs: no garbage collection, and a better place in the scheduler where that is allowed."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

_LOCK = threading.Lock()
_depth = 0
_was_enabled = False
_was_frozen = 0


@dataclass(frozen=True)
class Realtime:
    """What was obtained: empty where it was not asked for, else what it is now or why it was refused."""

    scheduler: str
    niceness: str


@contextlib.contextmanager
def realtime(fifo_priority: int | None = None, niceness: int | None = None) -> Iterator[Realtime]:
    """Collect and freeze what lives, switch the collector off; give all back at the end, also after an exception.

    What is referred to no longer still goes at once; only cycles stay until the end. With `fifo_priority`, 1 to 99, the
    calling thread asks for SCHED_FIFO (sched(7)), with `niceness` for that; threads that it begins inherit both.
    A system that refuses, as most do without CAP_SYS_NICE, is no error: the result says so; nor does such a system let
    a thread that made itself nicer take that back. Contexts may be nested.
    """
    with contextlib.ExitStack() as restore:
        _switch_off()
        restore.callback(_switch_on)
        scheduler = "" if fifo_priority is None else _schedule(fifo_priority, restore)
        nice = "" if niceness is None else _be_nice(niceness, restore)
        yield Realtime(scheduler, nice)


def _switch_off() -> None:
    """The outermost context alone freezes: an inner one that ends would thaw what the outer one froze."""
    global _depth, _was_enabled, _was_frozen
    with _LOCK:
        _depth += 1
        if _depth > 1:
            return
        _was_enabled, _was_frozen = gc.isenabled(), gc.get_freeze_count()
        gc.collect()
        gc.freeze()
        gc.disable()


def _switch_on() -> None:
    global _depth
    with _LOCK:
        _depth -= 1
        if _depth:
            return
        if not _was_frozen:  # else the app froze some itself, and Python cannot thaw only ours
            gc.unfreeze()
        if _was_enabled:
            gc.enable()


def _schedule(priority: int, restore: contextlib.ExitStack) -> str:
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:  # also for a priority that is out of range
        return f"refused: {error.strerror}"
    restore.callback(os.sched_setscheduler, 0, *before)
    return f"SCHED_FIFO {priority}"


def _be_nice(niceness: int, restore: contextlib.ExitStack) -> str:
    thread = threading.get_native_id()
    before = os.getpriority(os.PRIO_PROCESS, thread)
    try:
        os.setpriority(os.PRIO_PROCESS, thread, niceness)
    except OSError as error:
        return f"refused: {error.strerror}"
    restore.callback(_nice_again, thread, before)
    return str(os.getpriority(os.PRIO_PROCESS, thread))


def _nice_again(thread: int, before: int) -> None:
    # Who made itself nicer may not always take that back (RLIMIT_NICE of getrlimit(2)).
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, before)
