"""Ctrl-C and SIGTERM that cannot get lost: libraries swallow what hits a destructor or a bare `except`."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_WATCHED = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Which signal came since `watched` began, 0 for none; `check` raises again what a library swallowed.

    A service manager's SIGTERM takes the way of Ctrl-C: what was begun is cleared away. By itself it would end the
    process at once and leave half-written files aside.
    """

    def __init__(self) -> None:
        self.seen = 0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Remember the signal while it raises KeyboardInterrupt; only a main thread can do that."""
        self.seen = 0
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        earlier = [(number, signal.signal(number, self._remember)) for number in _WATCHED]
        try:
            yield
        finally:
            for number, handler in earlier:
                signal.signal(number, handler)

    def check(self) -> None:
        """Raise KeyboardInterrupt if there was one."""
        if self.seen:
            raise KeyboardInterrupt

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.seen = number
        raise KeyboardInterrupt


INTERRUPTS = Interrupts()
