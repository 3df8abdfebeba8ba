"""Bytes that are in memory, or a part of a file of which only a few need to be there at a time."""

from __future__ import annotations

import os
from collections.abc import Callable

AHEAD = 32  # bytes behind a position that are there with it
_BLOCK = 4096


class Window:
    """`size` bytes, made by `over` or `of`. A file that is changed meanwhile gives what it holds then: a caller that
    hands bytes on has to look at those very bytes, `over` them."""

    def __init__(self, size: int, load: Callable[[int, int], bytes]) -> None:
        self.size = size
        self._load = load
        self._data, self._first, self._safe = b"", 0, -1

    @classmethod
    def over(cls, data: bytes) -> Window:
        """Bytes that are in memory, without a copy."""
        window = cls(len(data), lambda start, count: data[start : start + count])
        window._data, window._safe = data, len(data)
        return window

    @classmethod
    def of(cls, file: int, start: int, size: int) -> Window:
        """`size` bytes of an open file from `start`; the file's own position stays where it is."""
        return cls(size, lambda at, count: os.pread(file, max(0, min(count, size - at)), start + at))

    def read(self, start: int, count: int) -> bytes:
        """A copy of `count` bytes, fewer at the end."""
        return self._load(start, count)

    def around(self, position: int) -> tuple[bytes, int]:
        """Bytes, and the position of the first of them: among them are the `AHEAD` from `position` on, as far as there
        are so many."""
        if not self._first <= position <= self._safe:
            self._data, self._first = self._load(position, _BLOCK), position
            reached = position + len(self._data)
            self._safe = self.size if reached == self.size else reached - AHEAD
        return self._data, self._first
