"""A histogram of |x| whose range doubles: what passed by, in a fixed number of counts.

The range is a power of two. So a doubled range joins neighbouring bins exactly, and histograms of parts of the data add
up to that of the whole, in any order.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 2048
# Of one tensor of one batch about so many values are counted: a quantile of 99.99 % still rests on dozens.
_MOST = 1 << 18
# The range of what is never above zero, with BINS / 2^-116 the largest power of two of float32; and the widest range.
SMALLEST_EXPONENT, LARGEST_EXPONENT = -116, 128

Counts = npt.NDArray[np.int64]


def _no_counts() -> Counts:
    return np.zeros(BINS, np.int64)


@dataclass
class Histogram:
    """`counts` int64 [BINS] of |x| in equal bins of 0 .. 2^exponent, which is above all of them."""

    exponent: int = SMALLEST_EXPONENT
    counts: Counts = field(default_factory=_no_counts)

    def add(self, values: npt.NDArray[Any], largest: float) -> None:
        """Count finite `values` of any shape, none of which is larger in size than `largest`."""
        self._reach(exponent_of(largest))
        flat = values.reshape(-1)
        sizes = np.abs(flat[:: step_through(flat.size)])
        self.counts += np.bincount((sizes * np.float32(BINS * 2.0**-self.exponent)).astype(np.int32), minlength=BINS)

    def merged(self, other: Histogram) -> Histogram:
        """A histogram of what both have seen."""
        exponent = max(self.exponent, other.exponent)
        counts = [_doubled(item.counts, exponent - item.exponent) for item in (self, other)]
        return Histogram(exponent, counts[0] + counts[1])

    def centres(self) -> npt.NDArray[np.float64]:
        """The middle of each bin, float64 [BINS]."""
        centres: npt.NDArray[np.float64] = (np.arange(BINS, dtype=np.float64) + 0.5) * (2.0**self.exponent / BINS)
        return centres

    def _reach(self, exponent: int) -> None:
        if exponent > self.exponent:
            self.counts = _doubled(self.counts, exponent - self.exponent)
            self.exponent = exponent


def exponent_of(largest: float) -> int:
    """The least power of two above `largest`: so each bin has its lower edge, and doubled bins have theirs."""
    return max(math.frexp(largest)[1], SMALLEST_EXPONENT) if largest else SMALLEST_EXPONENT


def step_through(size: int) -> int:
    """Every how many of `size` values one is counted.

    A step that has a divisor in common with the size of an axis would see some of its channels only.
    """
    return next(step for step in itertools.count(max(size // _MOST, 1)) if math.gcd(step, size) == 1)


def _doubled(counts: Counts, times: int) -> Counts:
    """The counts as they are in a range of 2^times the size."""
    if times >= BINS.bit_length():
        joined = _no_counts()
        joined[0] = counts.sum()
        return joined
    sums = counts.reshape(-1, 1 << times).sum(axis=1)
    return np.concatenate([sums, np.zeros(BINS - len(sums), np.int64)])
