"""Between a worker and its supervisor: one JSON object a packet, and the end of either is seen by the other.

A pair of SOCK_SEQPACKET sockets: packets arrive whole and in order, a full buffer is known at once, and the kernel
closes an end with its process (unix(7)).
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

from edgekit.reports import plain

MOST_BYTES = 64 * 1024  # Linux lets a packet have net.core.wmem_default, about three times this
_LESS = ("events", "session", "numbers", "report")  # what goes first where that is too little


def pair() -> tuple[socket.socket, socket.socket]:
    """The supervisor's end, which never waits, and the worker's."""
    above, below = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    above.setblocking(False)
    return above, below


def packed(message: dict[str, Any]) -> bytes:
    """The message as JSON, without its largest parts where it would not fit."""
    values = plain(message)
    data = _dumped(values)
    for key in _LESS:
        if len(data) <= MOST_BYTES:
            break
        if key in values:
            values[key] = {"left out": f"{len(data)} bytes"} if key != "events" else []
            data = _dumped(values)
    return data


def say(line: socket.socket, message: dict[str, Any], patience_s: float = 0.0) -> bool:
    """Send; whether it was. A supervisor that does not read is waited for as long as `patience_s`, or not at all."""
    data = packed(message)
    end_s = time.monotonic() + patience_s
    while True:
        try:
            line.send(data, socket.MSG_DONTWAIT)
            return True
        except BlockingIOError:
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return False
            writable = select.poll()
            writable.register(line, select.POLLOUT)
            writable.poll(left_s * 1e3)
        except OSError:  # the supervisor is gone
            return False


def heard(line: socket.socket) -> Iterator[dict[str, Any] | None]:
    """The messages that wait; the last is None where the other end is closed."""
    while True:
        try:
            data = line.recv(4 * MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            yield None
            return
        yield json.loads(data)


def _dumped(values: Any) -> bytes:
    return json.dumps(values, default=str).encode()
