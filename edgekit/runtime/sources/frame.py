"""What a camera, a microphone or a sensor gives, one by one, with the moment at which it was taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from edgekit.errors import DataError
from edgekit.runtime.backend import Array


class SourceLost(DataError):
    """A camera or a stream went away; it may come back, and is opened anew."""


@dataclass(frozen=True)
class Frame:
    """A picture uint8 [H,W,3] RGB, a sound float32 [S] in -1..1, or measured values [T,C].

    `captured_ns` is of `time.perf_counter_ns`: when the sensor saw it, as near as the source knows; of a recording,
    when it was due. `number` counts what the source has seen since it was first opened, also what it could not deliver:
    a hole is a gap.
    """

    data: Array
    captured_ns: int
    number: int
    source: str = ""


class Source(Protocol):
    """Gives frames to one thread, which is not that of the session."""

    name: str
    rate: float | None  # frames a second, where it is known

    def frames(self) -> Iterator[Frame]:
        """Wait for the next frame, and give it; ends where a recording ends. Raises SourceLost where a camera goes.

        A frame's data are not written again: the loop may hold several.
        """

    def close(self) -> None:
        """Let go of the device; `frames`, in another thread, ends soon after. Closing twice does no harm."""


def check_open(name: str, closed: bool) -> None:
    """Raise SourceLost for a source that is closed before anyone reads it."""
    if closed:
        raise SourceLost(f"expected {name} to be open, found it closed", "open_source again")
