"""Says to systemd that the app is ready, alive and how it is, where it asks: sd_notify(3), without its library."""

from __future__ import annotations

import contextlib
import os
import socket


class Notifier:
    """Does nothing without NOTIFY_SOCKET. `every_s` is how often `alive` has to be said: half of WatchdogSec."""

    def __init__(self) -> None:
        name = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = bool(self._address) and mine and microseconds.isdigit() and int(microseconds) > 0
        self.every_s = int(microseconds) / 2e6 if watched else None

    def say(self, *lines: str) -> None:
        """Such as READY=1, STATUS=…, WATCHDOG=1, STOPPING=1. Nobody who listens is no error."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)
