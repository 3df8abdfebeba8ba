"""Ctrl-C and `systemctl stop` end a loop in order: the first drains it, the second interrupts it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager

from edgekit.signals import handling


def stopping_on_signals(stop: Callable[[str], None]) -> AbstractContextManager[None]:
    """Call `stop` with the signal's name at the first SIGINT or SIGTERM, raise KeyboardInterrupt at the next, which is
    one that comes half a second later or more.

    `stop` may take no lock: the main thread may hold it. Raises UsageError outside the main thread.
    """

    def interrupt(number: int) -> None:
        raise KeyboardInterrupt

    return handling(lambda number: stop(signal.Signals(number).name), interrupt, "loop.stop() from there")
