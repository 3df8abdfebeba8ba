"""The page as an app has it: a sink for its loops, and their numbers for whoever looks."""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from edgekit.errors import UsageError
from edgekit.runtime.loop.report import Processed
from edgekit.runtime.web.document import document, headers
from edgekit.runtime.web.machine import machine_state
from edgekit.runtime.web.pane import Pane
from edgekit.runtime.web.server import ADDRESS, Reply, Server
from edgekit.runtime.web.shown import Encoder
from edgekit.runtime.web.state import Fresh, Watched, loop_state
from edgekit.runtime.web.view import View

_STATE_S, _MACHINE_S = 0.2, 2.0
_FRAME = re.compile(r"/frame/([0-9]{1,4})")
_AFTER = re.compile(r"(?:after=([0-9]{1,18}))?")


class _Shown(NamedTuple):
    loop: Watched
    view: View
    sources: tuple[str, ...]


class LivePage:
    """Serves from the moment it is made until `close`, on 127.0.0.1 and a port; 0 is any that is free.

    `sink` goes to each loop, which `watch` is then told of. `view` says what answers mean. `root` is where the device's
    files are read. Raises UsageError for a port that is taken.

    Paths: `/` the page; `/state` all numbers, JSON; `/frame/0` the last frame of the first source with its answer, as
    `Encoder.body` has it, or 204 where it is still the one of `?after=SERIAL`.
    """

    def __init__(self, port: int = 8080, view: View = View(), *, name: str = "edgekit", root: Path = Path("/")) -> None:
        self._view, self._name = view, name
        self._id = secrets.token_hex(8)  # by which a browser sees that the process is another one
        self._lock = threading.Lock()
        self._panes: dict[str, Pane] = {}
        self._encoders: dict[str, Encoder] = {}
        self._loops: dict[str, _Shown] = {}
        self._state = Fresh(_STATE_S, self._make_state)
        self._machine = Fresh(_MACHINE_S, lambda: machine_state(root))
        self._document = document(name)
        self._server = Server(port, self._answer, headers())

    def __enter__(self) -> LivePage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The port that was taken."""
        return self._server.port

    @property
    def url(self) -> str:
        """Where the page is, on this machine."""
        return f"http://{ADDRESS}:{self.port}/"

    def sink(self, processed: Processed) -> None:
        """Show an answer, for a StreamLoop's `sinks`: it takes the loop's thread about a microsecond."""
        pane = self._panes.get(processed.frame.source) or self._pane(processed.frame.source)
        pane.add(processed)

    def watch(self, loops: Watched | Mapping[str, Watched], views: Mapping[str, View] = {}) -> None:
        """Show the numbers of a loop, or of several by their names, in place of those watched so far.

        `views` are those of loops whose answers mean something else than `view` says. Raises UsageError for a source's
        name that two of the loops have, or a view of none of them.
        """
        named = dict(loops) if isinstance(loops, Mapping) else {"": loops}
        unknown = [name for name in views if name not in named]
        if unknown:
            raise UsageError(f"expected views of {', '.join(named)}, found one of {', '.join(unknown)}")
        shown = {
            name: _Shown(loop, views.get(name, self._view), tuple(loop.snapshot()["sources"]))
            for name, loop in named.items()
        }
        sources = [source for item in shown.values() for source in item.sources]
        twice = sorted({source for source in sources if sources.count(source) > 1})
        if twice:
            raise UsageError(f"expected sources with names of their own, found two called {', '.join(twice)}")
        for source in sources:
            self._pane(source)
        with self._lock:
            self._loops = shown

    def close(self) -> None:
        """End the server with all its threads and connections; twice does no harm."""
        self._server.close()

    def _pane(self, name: str) -> Pane:
        with self._lock:
            if name not in self._panes:
                self._panes[name] = Pane(name)
                self._encoders[name] = Encoder()
            return self._panes[name]

    def _answer(self, path: str, query: str) -> Reply:
        """In a thread of the server."""
        if path == "/":
            return Reply(200, "text/html; charset=utf-8", self._document)
        if path == "/state":
            return Reply(200, "application/json", self._state.get())
        if path == "/favicon.ico":  # which browsers ask for unasked
            return Reply(204)
        frame, after = _FRAME.fullmatch(path), _AFTER.fullmatch(query)
        if frame and after:
            return self._frame(int(frame[1]), int(after[1]) if after[1] else -1)
        return Reply(404, data=b"404 Expected /, /state or /frame/0\n")

    def _frame(self, index: int, after: int) -> Reply:
        with self._lock:
            panes, loops = list(self._panes.values()), list(self._loops.values())
        if index >= len(panes):
            return Reply(404, data=f"404 Expected a source below {len(panes)}\n".encode())
        pane = panes[index]
        seen = pane.seen()
        if seen is None or seen.serial == after:
            return Reply(204)
        view = next((item.view for item in loops if pane.name in item.sources), self._view)
        return Reply(200, *self._encoders[pane.name].body(seen, view))

    def _make_state(self) -> bytes:
        with self._lock:
            panes, loops = dict(self._panes), dict(self._loops)
        now_ns = time.perf_counter_ns()
        state = {
            "id": self._id,
            "sources": [pane.state(now_ns) for pane in panes.values()],
            "loops": [
                loop_state(name, item.loop, item.view, [panes[source] for source in item.sources])
                for name, item in loops.items()
            ],
            "machine": self._machine.get(),
        }
        return json.dumps(state, allow_nan=False).encode()
