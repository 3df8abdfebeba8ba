"""When requests arrive. A closed loop hides stalls; every other mode keeps its intended times whatever happens.

With intended times the latency of a request counts from when it was meant to start, not from when the busy system got
round to it: otherwise a stall of 200 ms counts once instead of for every frame that waited ("coordinated omission",
Gil Tene, How NOT to Measure Latency, 2013).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgekit.configs import MODES

CLOSED, FIXED_RATE, POISSON, OFFLINE, SOAK = MODES


@dataclass(frozen=True)
class Arrivals:
    """`period_ns` is None for a closed loop: the next request starts when the last one ended. 0 is all at once.

    `start_ns` is when the first is due, where an earlier round has set the beat; else it is now. With a `seed` the gaps
    are exponential, of `period_ns` in the mean, and the first is due a gap after the start.
    """

    mode: str
    count: int
    period_ns: int | None = None
    start_ns: int | None = None
    seed: int | None = None

    def offsets_ns(self) -> npt.NDArray[np.int64] | None:
        """When each request is due, int64 [count] in ns after the start; None for a closed loop."""
        if self.period_ns is None:
            return None
        if self.seed is None:
            return np.arange(self.count, dtype=np.int64) * self.period_ns
        gaps = np.random.default_rng(self.seed).exponential(self.period_ns, self.count)
        return np.cumsum(np.maximum(1, np.rint(gaps))).astype(np.int64)

    def intended_ns(self, now_ns: int) -> Iterator[int | None]:
        """The intended start of each request; None means at once."""
        start_ns, offsets = self.begin_ns(now_ns), self.offsets_ns()
        for index in range(self.count):
            yield None if offsets is None else start_ns + int(offsets[index])

    def begin_ns(self, now_ns: int) -> int:
        """From when the offsets count."""
        return now_ns if self.start_ns is None else self.start_ns

    def next_round(self, count: int, due_ns: int, done_ns: int, now_ns: int) -> Arrivals:
        """`count` requests that follow these, the last of which was due at `due_ns` and done at `done_ns`.

        Who came while it was served waits, and goes on waiting. Else the system was idle from `done_ns` to `now_ns`,
        which nobody measured: a camera's beats in that time are left out; a Poisson process, which remembers nothing,
        begins anew.
        """
        if self.period_ns is None:
            return replace(self, count=count)
        if self.seed is not None:
            follows = replace(self, count=count, start_ns=due_ns, seed=self.seed + 1)
            first = next(follows.intended_ns(now_ns))
            assert first is not None
            return replace(follows, start_ns=now_ns) if done_ns <= first < now_ns else follows
        due_ns += self.period_ns
        if done_ns <= due_ns:
            due_ns += max(0, -(-(now_ns - due_ns) // self.period_ns)) * self.period_ns
        return replace(self, count=count, start_ns=due_ns)


def closed(count: int) -> Arrivals:
    """`count` requests, one after the other."""
    return Arrivals(CLOSED, count)


def fixed_rate(fps: float, count: int, start_ns: int | None = None) -> Arrivals:
    """`count` requests at `fps` a second, as a camera sends them."""
    return Arrivals(FIXED_RATE, count, max(1, round(1e9 / fps)), start_ns)


def poisson(fps: float, count: int, seed: int = 0, start_ns: int | None = None) -> Arrivals:
    """`count` requests that come independently of each other, `fps` a second in the mean, as from many users."""
    return Arrivals(POISSON, count, max(1, round(1e9 / fps)), start_ns, seed)


def offline(count: int) -> Arrivals:
    """`count` requests that are all due at once, as a folder of recordings: what counts is when the last is done."""
    return Arrivals(OFFLINE, count, 0)
