"""One worker process: started, heard, ended, and cleared away with all that it began."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Any

from edgekit.runtime.supervise import wire
from edgekit.runtime.supervise.payload import command


class Process:
    """In a session of its own, so that a terminal's Ctrl-C does not reach it. Raises OSError where none can be had."""

    def __init__(self, name: str, payload: bytes) -> None:
        self.line, below = wire.pair()
        self.deaf = False  # its end of the line is closed
        with below:
            try:
                self.line.send(payload)  # fits into the empty buffer, so that nobody is waited for
                self._popen = subprocess.Popen(
                    command(below.fileno(), name),
                    stdin=subprocess.DEVNULL,
                    pass_fds=(below.fileno(),),
                    start_new_session=True,
                )
            except BaseException:
                self.line.close()
                raise
        self.pid = self._popen.pid

    def hear(self) -> list[dict[str, Any]]:
        """What it said since."""
        if self.deaf:
            return []
        messages = list(wire.heard(self.line))
        self.deaf = bool(messages) and messages[-1] is None
        return [message for message in messages if message is not None]

    def ended(self) -> tuple[int, int] | None:
        """(exit code, 0) or (0, signal) of a process that is no more; it stays a zombie, and its number taken."""
        try:
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # somebody else waited for it, or SIGCHLD is ignored
            return (255, 0)
        if found is None:
            return None
        return (found.si_status, 0) if found.si_code == os.CLD_EXITED else (0, found.si_status)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, and with it what it began, such as a decoder that holds the camera."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def clear(self) -> None:
        """After its end: end what is left of its group, which its zombie keeps the number of, and wait for it."""
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(1)
        self.leave()

    def leave(self) -> None:
        """Let go of the line, and of the process if it is no more."""
        self.line.close()
        self._popen.poll()
        if self._popen.returncode is None:  # the kernel holds it: nothing more can be done, and Python need not warn
            self._popen.returncode = -signal.SIGKILL


def in_words(code: int, number: int) -> str:
    """How a process ended."""
    if not number:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:  # a real-time signal between the first and the last has no name
        return f"killed by signal {number}"
