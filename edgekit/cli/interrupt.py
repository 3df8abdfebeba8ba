"""Ctrl-C that cannot get lost: libraries swallow a KeyboardInterrupt that hits a destructor or a bare `except`."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupts:
    """Whether Ctrl-C was pressed since `watched` began; `check` raises again what a library swallowed."""

    def __init__(self) -> None:
        self.seen = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Remember SIGINT while it still raises KeyboardInterrupt; only a main thread can do that."""
        self.seen = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        earlier = signal.signal(signal.SIGINT, self._remember)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, earlier)

    def check(self) -> None:
        """Raise KeyboardInterrupt if there was one."""
        if self.seen:
            raise KeyboardInterrupt

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        raise KeyboardInterrupt


INTERRUPTS = Interrupts()
