"""Latencies as tables of a page: quantiles with their intervals, and the slowest requests."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.latency.figures import NAMES
from edgekit.latency.stages import STAGES
from edgekit.latency.stats import Interval, LatencySummary
from edgekit.latency.worst import WorstRequest
from edgekit.pages.charts import legend
from edgekit.pages.markup import Cell, Html, Value, joined, table
from edgekit.pages.plots import parts_bar
from edgekit.pages.promises import exact, sortable


def quantile_table(summary: LatencySummary, deadline_ms: float | None) -> Html:
    """Each quantile, and how often the deadline was missed, with its interval and how many samples it rests on."""
    rows: list[list[Cell | Value]] = []
    for key, name in NAMES.items():
        found: Interval = getattr(summary, key)
        ends = [_milliseconds(value) for value in (found.value, found.low, found.high)]
        rows.append([name, *ends, summary.effective_n[key]])
    if summary.deadline_miss is not None and deadline_ms is not None:
        found = summary.deadline_miss
        shares = [Cell(f"{value:.2%}", sort=value) for value in (found.value, found.low, found.high)]
        rows.append([f"later than {exact(deadline_ms)} ms", *shares, summary.effective_n["deadline_miss"]])
    for name, value in (("jitter, p99 - p50", summary.jitter_ms), ("mean", summary.mean_ms)):
        rows.append([name, _milliseconds(value), *3 * [Cell("–", sort=-1)]])
    heads = ("quantile", "found", "at least", "at most", "independent samples")
    return table(f"Quantiles of {summary.n:,} requests, and their bounds with 95 % confidence", heads, rows)


def slowest_table(worst: Sequence[WorstRequest]) -> Html:
    """The slowest requests, where their time went as numbers and as a bar."""
    names = [name for name in STAGES if any(name in item.stages for item in worst)]
    largest = max((item.latency_ms for item in worst), default=0.0)
    timed = any(item.at_s is not None for item in worst)
    rows: list[list[Cell | Value]] = []
    for item in worst:
        cells: list[Cell | Value] = [item.index, _number(item.latency_ms)]
        if names:
            cells += [_most_of(item), parts_bar(item.stages, STAGES, largest)]
        if timed:
            cells.append(None if item.at_s is None else Cell(f"{item.at_s:,.3f}", sort=item.at_s))
        cells += [_number(item.stages[name]) if name in item.stages else None for name in names]
        rows.append(cells)
    heads = ["request", "latency, ms", *(["most of it", "where the time went"] if names else [])]
    heads += [*(["due at, s"] if timed else []), *(f"{name}, ms" for name in names)]
    title = f"The slowest {len(rows)} requests, the slowest first; requests count from 0"
    return joined(table(title, heads, rows), legend(names, STAGES) if names else "")


def _most_of(item: WorstRequest) -> str:
    """The stage that took the most, and how much of all."""
    if not item.stages or item.latency_ms <= 0:
        return "still waited at the end" if not item.stages else "–"
    name = max(item.stages, key=lambda one: item.stages[one])
    return f"{name}, {item.stages[name] / item.latency_ms:.0%}"


def _milliseconds(value: float) -> Cell:
    return Cell(f"{exact(value)} ms" if value < float("inf") else exact(value), sort=sortable(value))


def _number(value: float) -> Cell:
    return Cell(exact(value), sort=value)
