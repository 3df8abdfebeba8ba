"""What cannot wait: a device or a stream, read by a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Protocol

from edgekit.runtime.backend import Array
from edgekit.runtime.sources.frame import Frame, SourceLost, check_open


class Device(Protocol):
    """An open camera, microphone or stream. One thread reads it and then closes it."""

    rate: float | None

    def read(self) -> Iterator[tuple[Array | None, int]]:
        """What arrives, and when (`perf_counter_ns`); None for what cannot be decoded. Raises SourceLost."""

    def close(self) -> None:
        """Let go of it."""


class Live:
    """A Source that reads a device.

    A read inside a driver or FFmpeg cannot be called off, so that a camera that hangs would keep `close` waiting until
    the read's own timeout. A thread therefore reads, and hands over one frame at a time: one waits, and one is being
    read; what to drop is for the loop to say. `skipped` counts what could not be decoded, and so do the numbers.
    """

    def __init__(self, name: str, device: Device) -> None:
        self.name = name
        self.rate = device.rate
        self.skipped = 0
        self._device = device
        self._changed = threading.Condition()
        self._waiting: tuple[Array | None, int] | None = None
        self._lost: BaseException | None = None
        self._closed = False
        self._number = 0
        self._thread: threading.Thread | None = None

    def frames(self) -> Iterator[Frame]:
        """As they arrive. The end of a stream is a loss too: a camera has none. So is one that is closed already."""
        check_open(self.name, self._closed)
        with self._changed:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._read, name=f"reads {self.name}", daemon=True)
                self._thread.start()
        while (item := self._take()) is not None:
            data, captured_ns = item
            number, self._number = self._number, self._number + 1
            if data is None:
                self.skipped += 1
            else:
                yield Frame(data, captured_ns, number, self.name)

    def close(self, wait_s: float = 1.0) -> None:
        """The device is closed when its thread comes back from its read: at most `wait_s` are spent on seeing that."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is None:
            self._device.close()
        elif thread is not threading.current_thread():
            thread.join(wait_s)

    def _take(self) -> tuple[Array | None, int] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting is not None or self._lost is not None)
            if self._closed:
                return None
            if self._waiting is None and self._lost is not None:
                raise self._lost
            item, self._waiting = self._waiting, None
            self._changed.notify_all()
            return item

    def _read(self) -> None:
        """The thread: the device is closed before anyone hears that it is lost, for it may be opened anew at once."""
        lost: BaseException = SourceLost(f"expected frames of {self.name}, found the end of the stream")
        try:
            for item in self._device.read():
                if not self._hand_over(item):
                    break
        except Exception as error:  # whatever it is, the reader of `frames` hears of it
            lost = error
        try:
            self._device.close()
        finally:
            with self._changed:
                self._lost = lost
                self._changed.notify_all()

    def _hand_over(self, item: tuple[Array | None, int]) -> bool:
        """False when closed meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting is None)
            if not self._closed:
                self._waiting = item
                self._changed.notify_all()
            return not self._closed
