"""An opening that its caller can leave: a connect inside FFmpeg or a driver cannot be called off."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from edgekit.runtime.sources.frame import Source


class Attempt:
    """Opens a source in a thread of its own, so that Ctrl-C and `leave` are heard at once by who waits for it.

    What is opened after it was left is closed there. A driver that never comes back keeps that thread alone.
    """

    def __init__(self, opens: Callable[[], Source]) -> None:
        self._opens = opens
        self._changed = threading.Condition()
        self._source: Source | None = None
        self._error: BaseException | None = None
        self._over = self._left = False

    def result(self) -> Source | None:
        """The open source, None where it was left. Raises what the opening raises."""
        threading.Thread(target=self._run, name="opens a source", daemon=True).start()
        try:
            with self._changed:
                # Without a time limit: those follow the wall clock on Python 3.10.
                self._changed.wait_for(lambda: self._over or self._left)
                source, self._source = self._source, None
        except BaseException:  # Ctrl-C
            self.leave()
            raise
        if self._error is not None:
            raise self._error
        return source

    def leave(self) -> None:
        """Wait no longer; from any thread."""
        with self._changed:
            self._left = True
            source, self._source = self._source, None
            self._changed.notify_all()
        if source is not None:
            source.close()

    def _run(self) -> None:
        source: Source | None = None
        error: BaseException | None = None
        try:
            source = self._opens()
        except BaseException as raised:  # whatever it is, who waits hears of it
            error = raised
        with self._changed:
            self._over = True
            self._error = error
            if not self._left:
                self._source, source = source, None
            self._changed.notify_all()
        if source is not None:
            with contextlib.suppress(Exception):  # nobody is left to hear of it
                source.close()
