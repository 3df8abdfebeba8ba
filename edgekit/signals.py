"""The one place that takes SIGINT and SIGTERM, and gives them back."""

from __future__ import annotations

import atexit
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from edgekit.errors import UsageError

# What a launcher passes on follows what the terminal said already by milliseconds, and is the same wish.
ECHO_S = 0.5


@contextlib.contextmanager
def handling(first: Callable[[int], object], again: Callable[[int], object], instead: str) -> Iterator[None]:
    """Inside, call `first` with the first SIGINT or SIGTERM, and `again` with each that comes ECHO_S after it or later.

    One that comes sooner does nothing, also where what is inside has ended meanwhile. Both are called in the main
    thread, and may take no lock: it may hold it. Raises UsageError outside of it, with what to do there `instead`.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("expected signals to be handled by the main thread, found another", instead)
    taken = _Taken(first, again)
    before = [(number, signal.signal(number, taken)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in before:
            _give_back(number, handler, taken.until_s)


class _Taken:
    """The handler inside. `until_s`, of time.monotonic, is when an echo of the first signal is over."""

    def __init__(self, first: Callable[[int], object], again: Callable[[int], object]) -> None:
        self._first, self._again = first, again
        self.until_s: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self.until_s is None:
            self.until_s = now_s + ECHO_S
            self._first(number)
        elif now_s >= self.until_s:
            self._again(number)


class _Fading:
    """Leaves a signal alone until `until_s`; from then on it is as if `before` had been there all the time."""

    def __init__(self, until_s: float, before: Any) -> None:
        self.until_s, self.before = until_s, before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() >= self.until_s:
            signal.signal(number, self.before)
            signal.raise_signal(number)


def _give_back(number: int, handler: Any, until_s: float | None) -> None:
    """Put `handler` back, behind the echo of what came inside, or inside of that."""
    now = signal.getsignal(number)
    if isinstance(now, _Fading):
        until_s = max(now.until_s, until_s or now.until_s)
    if isinstance(handler, _Fading):
        until_s, handler = max(handler.until_s, until_s or handler.until_s), handler.before
    handler = signal.SIG_DFL if handler is None else handler
    if until_s is None or time.monotonic() >= until_s:
        signal.signal(number, handler)
    else:
        signal.signal(number, _Fading(until_s, handler))
        atexit.register(_deaf, number)


def _deaf(number: int) -> None:
    """Python gives its handlers up before the process has ended: an echo would kill it, and its code say so."""
    handler = signal.getsignal(number)
    if isinstance(handler, _Fading) and time.monotonic() < handler.until_s:
        signal.signal(number, signal.SIG_IGN)
