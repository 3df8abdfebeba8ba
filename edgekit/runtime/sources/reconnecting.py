"""A camera that goes away is opened again, less and less often, until it is back."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from edgekit.errors import DataError, TargetError
from edgekit.runtime.sources.attempt import Attempt
from edgekit.runtime.sources.frame import Frame, Source, SourceLost
from edgekit.runtime.sources.names import shown


@dataclass(frozen=True)
class Backoff:
    """How long to wait before attempt n = 0, 1, …: half to all of min(`most_s`, `first_s` * 2^n), drawn anew each time.

    The draw keeps cameras that were lost together from coming back together ("equal jitter": M. Brooker, Exponential
    Backoff and Jitter, AWS Architecture Blog, 2015). `seed` makes the draws repeat; None takes another each time.
    """

    first_s: float = 0.5
    most_s: float = 30.0
    seed: int | None = None

    def waits(self) -> Iterator[float]:
        """Seconds, one after the other, without an end."""
        draw = random.Random(self.seed)
        limit = self.first_s
        while True:
            limit = min(limit, self.most_s)
            yield limit * draw.uniform(0.5, 1.0)
            limit *= 2


class Reconnecting:
    """A Source that opens its source again when that is lost. The first opening is at once, and its error is raised;
    with a `name` it too may fail and be tried again, as of a camera that comes up after the robot.

    What waiting does not cure is raised at once: a text that names no source, a package that is missing, and, as long
    as there was no frame yet, a file that is not there or holds none. A device's name may be misspelt or its plug out:
    that is tried again, and the listener hears that it was not seen yet, and why. An opening that hangs keeps neither
    `close` nor Ctrl-C waiting.

    A loss leaves a hole of one in the numbers, since nobody knows how many frames there were; `losses` counts them,
    and a loop hears of each. After `give_up_s` without a frame the last error is raised as
    SourceLost. What a recording ends with is an end, and no loss.
    """

    def __init__(
        self,
        source: Callable[[], Source],
        *,
        name: str = "",
        give_up_s: float | None = None,
        backoff: Backoff = Backoff(),
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open, self._give_up_s, self._backoff = source, give_up_s, backoff
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait
        self._clock = clock
        self._listener: Callable[[str, str], object] | None = None
        self._attempt: Attempt | None = None
        self._source: Source | None = None if name else Attempt(source).result()
        self.name = shown(name) if self._source is None else self._source.name
        self.rate = None if self._source is None else self._source.rate
        self.losses = 0
        self.connected = True
        self._stuck = False  # it was told to be opened anew
        self._first, self._last = 0, -1  # the number that the open source's first frame has, and that of the latest

    def listen(self, listener: Callable[[str, str], object]) -> None:
        """Tell, in the thread that reads, what is lost and back, and why; a StreamLoop listens by itself."""
        self._listener = listener

    def frames(self) -> Iterator[Frame]:
        """Frames of the source as long as there is one, with a pause where it was lost."""
        waits, seen_s = self._backoff.waits(), self._clock()
        while not self._closed.is_set():
            try:
                source = self._opened()
                if source is None:
                    return
                for frame in source.frames():
                    if not self.connected:
                        self._first, self.connected = self._last + 2, True
                        waits = self._backoff.waits()
                        self._tell("back", f"after {self._clock() - seen_s:.1f} s")
                    self._last = self._first + frame.number
                    yield replace(frame, number=self._last, source=self.name)
                    seen_s = self._clock()
                if not self._stuck:
                    return
                raise SourceLost(f"expected frames of {self.name}, found none for long")
            except (DataError, TargetError, OSError) as error:
                if self._closed.is_set():
                    return
                if self._hopeless(error):
                    raise
                self._lose(error, seen_s)
            self._sleep(next(waits))

    def close(self) -> None:
        """Also ends a pause, and an opening that is under way."""
        self._closed.set()
        source, attempt = self._source, self._attempt
        if source is not None:
            source.close()
        elif attempt is not None:
            attempt.leave()

    def reopen(self) -> None:
        """Let go of a source that is open and gives nothing, so that it is opened anew; from any thread.

        Closing may wait for a driver, which is left to a thread. Nothing is done while none is open.
        """
        source = self._source
        if source is not None and not self._stuck:
            self._stuck = True
            threading.Thread(target=source.close, name=f"closes {self.name}", daemon=True).start()

    def _tell(self, kind: str, message: str) -> None:
        if self._listener is not None:
            self._listener(kind, message)

    def _opened(self) -> Source | None:
        """None where it was closed meanwhile."""
        if self._source is None:
            self._attempt = Attempt(self._open)
            if self._closed.is_set():  # by another thread, which saw no attempt
                return None
            self._source = self._attempt.result()
            if self._closed.is_set() and self._source is not None:  # it saw neither the attempt's end nor a source
                self._source.close()
        return self._source

    def _hopeless(self, error: Exception) -> bool:
        no_file = isinstance(error, DataError) and not isinstance(error, SourceLost)
        return isinstance(error.__cause__, ImportError) or (no_file and self._last < 0)

    def _lose(self, error: DataError | TargetError | OSError, seen_s: float) -> None:
        """Count and say what was lost; an attempt that failed is no loss of its own."""
        source, self._source = self._source, None
        if source is not None and not self._stuck:  # else it is being closed
            source.close()
        self._stuck = False
        if self.connected:
            self.connected = False
            self.losses += 1
            # One that was never there may be misspelt rather than unplugged.
            self._tell("lost", str(error) if self._last >= 0 else f"not seen yet: {error}")
        away_s = self._clock() - seen_s
        if self._give_up_s is not None and away_s >= self._give_up_s:
            raise SourceLost(
                f"expected {self.name} to come back within {self._give_up_s:g} s, found: {error}"
            ) from error
