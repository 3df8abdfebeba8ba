"""The state as a file: whole at every moment, new about once a second and at each change."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from edgekit.errors import OutputError, words
from edgekit.files import write_json
from edgekit.runtime.loop.events import Events

EVERY_S = 1.0


class StateFile:
    """Best in memory, as below /run or /dev/shm: flash wears out.

    Raises OutputError where it cannot be written at first. Later a disk that is full is an event, once, and no reason
    to end a robot's tasks.
    """

    def __init__(self, path: Path, state: dict[str, Any], events: Events) -> None:
        self._path, self._events = path, events
        self._refused = False
        write_json(path, _dated(state))

    def write(self, state: dict[str, Any]) -> None:
        """Replace the file."""
        try:
            write_json(self._path, _dated(state))
            self._refused = False
        except (OutputError, OSError) as error:  # the latter of a disk that breaks while it is written
            if not self._refused:
                self._refused = True
                self._events.add("state not written", message=words(error))


def _dated(state: dict[str, Any]) -> dict[str, Any]:
    return {"written_unix_s": round(time.time(), 3), **state}
