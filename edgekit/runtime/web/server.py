"""An HTTP server for the people on this machine: GET and HEAD, a few paths, and nothing that outlives it."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, NamedTuple

from edgekit.errors import UsageError, first_line

ADDRESS = "127.0.0.1"
# A page of another site could have its own name point to this machine, and then read what we answer (DNS rebinding);
# its browser still says that name here. The port may be another one: that of `ssh -L`.
_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?", re.IGNORECASE)
_SILENT_S = 10.0  # a browser that says or reads nothing for so long is left
_MOST_CONNECTIONS = 64  # of ten browsers, each of which opens six
_LOOK_UP_S, _JOIN_S = 0.5, 2.0


class Reply(NamedTuple):
    """What is answered to one path; no body with 204."""

    code: int
    kind: str = "text/plain; charset=utf-8"
    data: bytes = b""


Answer = Callable[[str, str], Reply]  # (path, query)


class Server:
    """Serves `answer` on 127.0.0.1 from the moment it is made; `headers` go with every reply.

    `answer` is called from many threads at once. Raises UsageError for a port that is none, or that is taken.
    """

    def __init__(self, port: int, answer: Answer, headers: dict[str, str]) -> None:
        if not 0 <= port <= 65535:
            raise UsageError(f"expected a port from 0 to 65535, found {port}", "port 8080, or 0 for any that is free")
        try:
            self._server = _Threads((ADDRESS, port), _handler(answer, headers))
        except OSError as error:
            raise UsageError(
                f"expected to listen on {ADDRESS}:{port}, found: {error.strerror}", "another port, or 0 for a free one"
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_LOOK_UP_S,), name="live page", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End all connections and threads; twice does no harm."""
        if self._thread.is_alive():
            with contextlib.suppress(OSError):  # wakes the thread that accepts, where the system does that
                self._server.socket.shutdown(socket.SHUT_RDWR)
            self._server.shutdown()
            self._thread.join()
        self._server.leave_all()
        self._server.server_close()


class _Threads(ThreadingHTTPServer):
    """Knows its connections, so that it can end them."""

    daemon_threads = True
    request_queue_size = _MOST_CONNECTIONS  # of five, a second browser would try again after a second

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        super().__init__(address, handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's asks the DNS for our name, which may take long without a network

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._open) >= _MOST_CONNECTIONS:
            self.shutdown_request(request)
            return
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), name="live page", daemon=True
        )
        with self._lock:
            self._open[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._open[threading.current_thread()]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is nobody's fault; what else may fail is caught where it is answered."""

    def leave_all(self) -> None:
        """End what is still connected: a thread that waits for its browser sees the end of it."""
        with self._lock:
            left = dict(self._open)
        for request in left.values():
            with contextlib.suppress(OSError):  # its thread has closed it just now
                request.shutdown(socket.SHUT_RDWR)
        for thread in left:
            thread.join(_JOIN_S)


def _handler(answer: Answer, headers: dict[str, str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _SILENT_S
        disable_nagle_algorithm = True
        error_content_type = "text/plain; charset=utf-8"
        error_message_format = "%(code)d %(message)s\n"

        def do_GET(self) -> None:
            hosts = self.headers.get_all("Host") or []
            if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
                self.send_error(403, f"Expected the host {ADDRESS} or localhost")
                return
            if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
                self.close_connection = True  # its body would be read as the next request
            path, _, query = self.path.partition("?")
            try:
                reply = answer(path, query)
            except Exception as error:  # a page must not take a thread with it, nor print a traceback over the app
                reply = Reply(500, data=f"{type(error).__name__}: {first_line(error)}\n".encode(errors="replace"))
            self.send_response(reply.code)
            if reply.code != 204:
                self.send_header("Content-Type", reply.kind)
                self.send_header("Content-Length", str(len(reply.data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.data)

        do_HEAD = do_GET

        def do_POST(self) -> None:
            self.send_error(405, "Expected GET or HEAD")

        do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = do_POST

        def end_headers(self) -> None:
            for name, value in headers.items():
                self.send_header(name, value)
            super().end_headers()

        def version_string(self) -> str:
            return "edgekit"

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
