"""A camera that speaks as much RTSP (RFC 2326) as a test wants, and then falls silent: MPEG-TS in RTP over its TCP."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

_SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track1\r\n"
_DATAGRAM = 7 * 188  # bytes of MPEG-TS in one packet of RTP, payload type 33 (RFC 2250)
STEPS = ("CONNECT", "OPTIONS", "DESCRIBE", "SETUP", "PLAY", "ALL")


class Camera:
    """Answers each request before `silent_at`, one of STEPS, and no more; "ALL" has it send `clip` once it plays.

    `drip_s` is how long it waits before each byte of its answers.
    """

    def __init__(self, silent_at: str, clip: bytes = b"", drip_s: float = 0.0) -> None:
        self._steps = STEPS[1 : STEPS.index(silent_at)]
        self._clip, self._drip_s = clip, drip_s
        self.asked: list[str] = []
        self.connects = 0
        self._over = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"rtsp://127.0.0.1:{self._server.getsockname()[1]}/camera"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._server.accept()
                self.connects += 1
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            while not self._over.is_set():
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    if not (more := line.recv(4096)):
                        return
                    request += more
                method = request.split()[0].decode()
                self.asked.append(method)
                if method not in self._steps:
                    self._over.wait(30)
                    return
                self._say(line, self._answer(method, request))
                if method == "PLAY":
                    self._play(line)

    def _say(self, line: socket.socket, answer: bytes) -> None:
        pieces = [answer[at : at + 1] for at in range(len(answer))] if self._drip_s else [answer]
        for piece in pieces:
            if not self._over.wait(self._drip_s):
                line.sendall(piece)

    def _answer(self, method: str, request: bytes) -> bytes:
        number = next(row for row in request.decode().splitlines() if row.startswith("CSeq"))
        rows, body = ["RTSP/1.0 200 OK", number, "Session: 1"], ""
        if method == "OPTIONS":
            rows += ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"]
        elif method == "DESCRIBE":
            body = _SDP
            rows += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            rows += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1"]
        return ("\r\n".join(rows) + "\r\n\r\n" + body).encode()

    def _play(self, line: socket.socket) -> None:
        for number, at in enumerate(range(0, len(self._clip), _DATAGRAM)):
            data = self._clip[at : at + _DATAGRAM]
            header = struct.pack(">BBHII", 0x80, 33, number, 3000 * number, 7)
            line.sendall(b"$" + struct.pack(">BH", 0, len(header) + len(data)) + header + data)
