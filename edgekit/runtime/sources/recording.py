"""What was recorded is played at the pace at which it was recorded, so that it stands in for a camera."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event
from typing import NamedTuple, Protocol

from edgekit.errors import DataError
from edgekit.runtime.backend import Array
from edgekit.runtime.sources.frame import Frame, check_open

_LATE_NS = 2_000_000_000  # more than a busy machine stalls


class Piece(NamedTuple):
    """A picture or a chunk of sound, in nanoseconds from the beginning; no data where it could not be decoded."""

    data: Array | None
    due_ns: int
    end_ns: int


class Tape(Protocol):
    """What can be played from its beginning, again and again."""

    rate: float | None

    def pieces(self) -> Iterator[Piece]:
        """One after the other, decoded when asked for."""


class Recording:
    """A Source that plays a tape. With `pace`, a frame is given when it is due and never before.

    `captured_ns` is then when it was due, so that it ages while the reader is late; without `pace` it is when it was
    read. A tape that takes longer to decode than to play is played slower: it would else be further behind with each
    frame. Pieces that cannot be decoded are left out: `skipped` counts them, and so do the frames' numbers. With `loop`
    the tape begins again when its last piece has ended; numbers go on. Raises DataError for a tape without one frame.
    """

    def __init__(self, name: str, tape: Tape, *, pace: bool = True, loop: bool = False) -> None:
        self.name = name
        self.rate = tape.rate
        self.skipped = 0
        self._tape, self._pace, self._loop = tape, pace, loop
        self._closed = Event()
        self._number = 0

    def frames(self) -> Iterator[Frame]:
        """From the beginning of the tape. Raises SourceLost where it is closed already, as after a loop."""
        check_open(self.name, self._closed.is_set())
        begins = end = 0  # when this round of the tape begins and ends, after the first frame was read
        began: int | None = None
        while not self._closed.is_set():
            found = False
            asked = time.perf_counter_ns()
            for piece in self._tape.pieces():
                if self._closed.is_set():
                    return
                number, self._number = self._number, self._number + 1
                end = begins + piece.end_ns
                if piece.data is None:
                    self.skipped += 1
                    continue
                found = True
                captured = time.perf_counter_ns()
                if self._pace:
                    began = captured if began is None else began
                    late_ns = captured - (began + begins + piece.due_ns)
                    if late_ns > _LATE_NS:
                        began += min(late_ns, captured - asked)
                    captured = began + begins + piece.due_ns
                    if not self._wait_until(captured):
                        return
                yield Frame(piece.data, captured, number, self.name)
                asked = time.perf_counter_ns()
            if not found and not self._closed.is_set():
                raise DataError(f"expected frames in {self.name}, found none that could be decoded")
            if not self._loop:
                return
            begins = end

    def close(self) -> None:
        """A reader that waits for the next frame stops waiting."""
        self._closed.set()

    def _wait_until(self, due_ns: int) -> bool:
        """False when closed meanwhile."""
        while (left := due_ns - time.perf_counter_ns()) > 0:
            if self._closed.wait(left / 1e9):
                return False
        return not self._closed.is_set()
