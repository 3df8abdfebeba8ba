"""What a session counts: whole numbers and one histogram, without allocation; read as a plain snapshot."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

# Upper edges in milliseconds: from an MLP on a desktop to a language model on a CPU.
EDGES_MS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 33.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)


class Histogram:
    """How many values fell under each edge; one more count for those above the last."""

    def __init__(self, edges: tuple[float, ...] = EDGES_MS) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value; one on an edge counts under it, as Prometheus's `le` does."""
        self.counts[bisect_left(self.edges, value)] += 1
        self.total += value

    def snapshot(self) -> dict[str, Any]:
        """`buckets` are (upper edge, values at or below it), as Prometheus has them; the last edge is infinity."""
        below, buckets = 0, []
        for edge, count in zip((*self.edges, float("inf")), self.counts, strict=True):
            below += count
            buckets.append((edge, below))
        return {"count": below, "sum": self.total, "buckets": buckets}


class Counters:
    """The numbers of one session since it was opened."""

    def __init__(self) -> None:
        self.runs = 0
        self.steps = 0
        self.tokens = 0
        self.errors = 0
        self.timeouts = 0
        self.degradations = 0
        self.compute_ms = Histogram()

    def snapshot(self) -> dict[str, Any]:
        """Whole numbers by name, and the histogram of milliseconds from submit to the end of wait."""
        return {
            "runs": self.runs,
            "steps": self.steps,
            "tokens": self.tokens,
            "errors": self.errors,
            "timeouts": self.timeouts,
            "degradations": self.degradations,
            "compute_ms": self.compute_ms.snapshot(),
        }
