"""Ctrl-C and SIGTERM that cannot get lost: libraries swallow what hits a destructor or a bare `except`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from edgekit.signals import handling


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
        # One more within half a second would break off the clearing away.
        with handling(self._remember, self._remember, "the main thread"):
            yield

    def check(self) -> None:
        """Raise KeyboardInterrupt if there was one."""
        if self.seen:
            raise KeyboardInterrupt

    def _remember(self, number: int) -> None:
        self.seen = number
        raise KeyboardInterrupt


INTERRUPTS = Interrupts()
