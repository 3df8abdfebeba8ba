"""A worker's thread that speaks for its loop, and ends the process when the supervisor is gone."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable

_TICK_MS = 100


class Lifeline:
    """Calls `tick` about ten times a second, until the other end of `line` is closed.

    Then it ends this process as the supervisor would: SIGTERM, and after `grace_s` SIGKILL for all of its group, such
    as a decoder that holds the camera. It waits for the line and not for an Event: those follow the wall clock on
    Python 3.10, and would sleep for as long as that is set back.
    """

    def __init__(self, line: socket.socket, tick: Callable[[], None], grace_s: float) -> None:
        self._line, self._tick, self._grace_s = line, tick, grace_s
        self._thread = threading.Thread(target=self._run, name="lifeline", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        end = select.poll()
        end.register(self._line, select.POLLIN)
        while not (end.poll(_TICK_MS) and self._gone()):
            self._tick()
        # First the kernel's alarm, for what holds Python's lock from now on.
        signal.setitimer(signal.ITIMER_REAL, self._grace_s + 1)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGTERM)
        time.sleep(self._grace_s)
        os.killpg(0, signal.SIGKILL)

    def _gone(self) -> bool:
        try:
            return not self._line.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:  # it went with messages unread
            return True
