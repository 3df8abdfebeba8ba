"""Ctrl-C and `systemctl stop` end a loop in order: the first drains it, the second interrupts it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from edgekit.errors import UsageError


@contextlib.contextmanager
def stopping_on_signals(stop: Callable[[str], None]) -> Iterator[None]:
    """Call `stop` with the signal's name at the first SIGINT or SIGTERM, raise KeyboardInterrupt at the next.

    `stop` may take no lock: the main thread may hold it. Raises UsageError outside the main thread.
    """
    seen = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        if seen:
            raise KeyboardInterrupt
        seen = True
        stop(signal.Signals(number).name)

    with handling(handle, "loop.stop() from there"):
        yield


@contextlib.contextmanager
def handling(handle: Callable[[int, FrameType | None], None], instead: str) -> Iterator[None]:
    """Have `handle` hear of SIGINT and SIGTERM while inside.

    Raises UsageError outside the main thread, with what to do there `instead`.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("expected signals to be handled by the main thread, found another", instead)
    before = [(number, signal.signal(number, handle)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
