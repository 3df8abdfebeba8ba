"""A server on this machine that streams what a test tells it to, and breaks off when told to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import BinaryIO

import pytest

Answer = Callable[[BinaryIO], None]


class Streams:
    """Answers the n-th request with the n-th of `answers`, which write to the connection; 404 when there is none."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[str] = []
        self.over = threading.Event()  # an answer that hangs waits for this
        streams = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                streams.asked.append(self.path)
                if len(streams.asked) > len(streams.answers):
                    self.send_error(404)
                    return
                self.send_response(200)
                self.end_headers()
                with contextlib.suppress(OSError):  # the other side went away
                    streams.answers[len(streams.asked) - 1](self.wfile)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def streams() -> Iterator[Streams]:
    server = Streams()
    yield server
    server.close()
