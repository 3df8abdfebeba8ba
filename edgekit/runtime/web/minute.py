"""The ages of the last minute, in memory that is made once."""

from __future__ import annotations

BIN_NS = 500_000_000
BINS = 120
_RATE_BINS = 4  # whole ones: two seconds


class Minute:
    """Half seconds, each with the oldest answer given in it and how many there were. Not safe among threads."""

    def __init__(self) -> None:
        self._bins = [-1] * BINS  # which half second a place stands for
        self._oldest_ms = [0.0] * BINS
        self._count = [0] * BINS

    def add(self, now_ns: int, age_ms: float) -> None:
        """An answer was given at `now_ns`."""
        number = now_ns // BIN_NS
        place = number % BINS
        if self._bins[place] != number:
            self._bins[place], self._oldest_ms[place], self._count[place] = number, age_ms, 0
        elif age_ms > self._oldest_ms[place]:
            self._oldest_ms[place] = age_ms
        self._count[place] += 1

    def oldest_ms(self, now_ns: int) -> list[float | None]:
        """The oldest answer of each half second, the one under way last; None where none was given."""
        numbers = range(now_ns // BIN_NS - BINS + 1, now_ns // BIN_NS + 1)
        return [self._oldest_ms[n % BINS] if self._bins[n % BINS] == n else None for n in numbers]

    def rate(self, now_ns: int) -> float:
        """Answers a second, over the last two seconds that are whole."""
        last = now_ns // BIN_NS
        numbers = range(last - _RATE_BINS, last)
        count = sum(self._count[n % BINS] for n in numbers if self._bins[n % BINS] == n)
        return count / (_RATE_BINS * BIN_NS / 1e9)
