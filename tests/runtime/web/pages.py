"""Loops to look at, requests to their page, and what is left when it is closed."""

from __future__ import annotations

import contextlib
import email
import email.policy
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.runtime.loop import Policy, Processed, StreamLoop
from edgekit.runtime.runner import Timing
from edgekit.runtime.sources import Frame
from edgekit.runtime.web import LivePage


def wait_for(true: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """Wait for a condition, and give what it found."""
    end_s = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end_s, f"waited in vain for {what}"
        time.sleep(0.005)
    return found


def processed(data: Any, answer: Any = None, number: int = 0, source: str = "front", held: bool = False) -> Processed:
    now_ns = time.perf_counter_ns()
    return Processed(Frame(np.asarray(data), now_ns, number, source), answer, 5.0, Timing(now_ns, now_ns), held)


class Steady:
    """The same picture at a rate, until it is closed."""

    def __init__(self, data: np.ndarray, rate: float = 50, name: str = "front") -> None:
        self.name, self.rate, self._data = name, rate, data
        self._stopped = threading.Event()

    def frames(self) -> Iterator[Frame]:
        number = 0
        while not self._stopped.wait(1 / self.rate):
            yield Frame(self._data, time.perf_counter_ns(), number, self.name)
            number += 1

    def close(self) -> None:
        self._stopped.set()


@contextlib.contextmanager
def running(
    page: LivePage, work: Callable, data: np.ndarray, policy: Policy = Policy(), name: str = "front"
) -> Iterator[StreamLoop]:
    """A loop over one camera in a thread of its own, watched by the page."""
    loop = StreamLoop(Steady(data, name=name), work, page.sink, policy)
    page.watch(loop)
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield loop
    finally:
        loop.stop()
        thread.join()


def get(port: int, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """One request on a connection of its own; headers that are given replace those of http.client."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        reply = connection.getresponse()
        return reply, reply.read()
    finally:
        connection.close()


def state(page: LivePage) -> dict[str, Any]:
    reply, body = get(page.port, "/state")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    return json.loads(body)


def frame(page: LivePage, index: int = 0) -> tuple[dict[str, Any], bytes]:
    """What a frame's body says of it, and its JPEG; taken apart by the standard library's parser of MIME."""
    reply, body = get(page.port, f"/frame/{index}")
    assert reply.status == 200, body
    head = f"Content-Type: {reply.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    assert not message.defects
    parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
    about, picture = parts.pop("about"), parts.pop("picture", None)
    assert not parts
    assert about.get_content_type() == "application/json"
    return json.loads(about.get_payload(decode=True)), picture.get_payload(decode=True) if picture else b""


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
