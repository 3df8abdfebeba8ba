"""When requests arrive. A closed loop hides stalls; a fixed rate keeps its intended times whatever happens.

With a fixed rate the latency of a request counts from when it was meant to start, not from when the busy system got
round to it: otherwise a stall of 200 ms counts once instead of for every frame that waited ("coordinated omission",
Gil Tene, How NOT to Measure Latency, 2013).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Arrivals:
    """`period_ns` is None for a closed loop: the next request starts when the last one ended.

    `start_ns` is when the first is due, where an earlier round has set the beat; else it is now.
    """

    mode: str
    count: int
    period_ns: int | None = None
    start_ns: int | None = None

    def intended_ns(self, now_ns: int) -> Iterator[int | None]:
        """The intended start of each request; None means at once."""
        start_ns = now_ns if self.start_ns is None else self.start_ns
        for index in range(self.count):
            yield None if self.period_ns is None else start_ns + index * self.period_ns


def closed(count: int) -> Arrivals:
    """`count` requests, one after the other."""
    return Arrivals("closed", count)


def fixed_rate(fps: float, count: int, start_ns: int | None = None) -> Arrivals:
    """`count` requests at `fps` a second, as a camera sends them."""
    return Arrivals("fixed-rate", count, max(1, round(1e9 / fps)), start_ns)
