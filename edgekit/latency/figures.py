"""Latencies as figures of a page: over time, and quantile by quantile. However many there are, the worst are drawn.

Over time a strip has the least, the median and the largest of the requests due in it. By quantile the line is that of
order statistics at a few hundred places, evenly spaced in log(1 - q) as HdrHistogram has it (hdrhistogram.org), so that
p90, p99 and p99.9 are as far from each other; between two places it is at the upper of them, never below the truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.budget import Finding
from edgekit.latency.measure import Samples
from edgekit.latency.stats import QUANTILES, Interval, LatencySummary
from edgekit.latency.worst import slowest
from edgekit.pages.axes import Axis, linear, logarithmic
from edgekit.pages.markup import Html, number
from edgekit.pages.plots import Column, Line, Mark, Plot, Reference, key, plot
from edgekit.pages.promises import exact

STRIPS = 160
_PLACES = 280  # of the line by quantile
_TOP = 40  # the largest ones all have their own
_MARKED = 5
_LOGARITHMIC_FROM = 12  # times the median
_TELLING = 2  # a promise is drawn where it is up to so many times the largest value
NAMES = {"p50_ms": "p50", "p90_ms": "p90", "p99_ms": "p99", "p999_ms": "p99.9"}

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """Latencies [n] in ms in their order; `at` [n] is when each was due, in the unit that `unit` names."""

    latencies_ms: Values
    at: Values
    unit: str = "seconds since the first request"

    @property
    def end(self) -> float:
        """Where the axis of time ends."""
        return float(self.at[-1]) or 1.0


def course_of(samples: Samples) -> Course:
    """Of requests whose intended starts are known, at least one."""
    return Course(samples.latencies_ms, (samples.intended_ns - samples.intended_ns[0]) / 1e9)


def by_number(latencies_ms: Sequence[float]) -> Course:
    """For latencies in ms, at least one, of which nobody wrote down when they were due."""
    return Course(np.asarray(latencies_ms, np.float64), np.arange(len(latencies_ms), dtype=np.float64), "request")


def limits_of(findings: Sequence[Finding], deadline_ms: float | None) -> list[Reference]:
    """The lines that a plot of latencies has: of each promise of a quantile, and the deadline."""
    lines = [
        Reference(item.limit.value, f"budget {NAMES[item.limit.key]} ≤ {exact(item.limit.value)} ms")
        for item in findings
        if item.limit.key in NAMES
    ]
    if deadline_ms is not None:
        lines.append(Reference(deadline_ms, f"deadline {exact(deadline_ms)} ms", "other"))
    return list(dict.fromkeys(lines))


def over_time(course: Course, references: Sequence[Reference]) -> Html:
    """The least, the median and the largest latency in each strip of time, and the slowest requests as points."""
    strips = _strips(course)
    worst = slowest(course.latencies_ms, _MARKED)
    drawn = Plot(
        x=linear(course.unit, 0.0, course.end),
        y=latency_axis(course.latencies_ms, references),
        columns=[_column(course, begin, end, chosen) for begin, end, chosen in strips],
        lines=[Line("p50", [((a + b) / 2, float(np.median(chosen))) for a, b, chosen in strips])],
        references=references,
        marks=[_worst_mark(course, index) for index in worst],
        order=("p50",),
    )
    signs = [
        ("band", "least to largest"),
        ("median", "p50"),
        ("worst", f"the slowest {len(worst)}"),
        *_kinds(references),
    ]
    return plot("Latency over time", drawn, key(signs))


def by_quantile(course: Course, summary: LatencySummary, references: Sequence[Reference]) -> Html:
    """The quantile function on an axis of log(1 - q), with the intervals of the quantiles that a summary has."""
    latencies_ms, count = course.latencies_ms, len(course.latencies_ms)
    shown = {name: key_ for key_, name in NAMES.items() if _enough(count, QUANTILES[key_])}
    marks = [
        Mark(nines(QUANTILES[key_]), found.value, f"{name} {_told(found)}", "interval", found.low, found.high)
        for name, key_ in shown.items()
        for found in [getattr(summary, key_)]
    ]
    drawn = Plot(
        x=_quantile_axis(count),
        y=latency_axis(latencies_ms, references),
        lines=[Line("all", quantile_line(latencies_ms), is_step=True)],
        references=references,
        marks=marks,
        order=("all",),
    )
    signs = [("median", "latency"), ("interval", "with its 95 % interval"), *_kinds(references)]
    return plot("Latency by quantile", drawn, key(signs))


def quantile_line(latencies_ms: Values) -> list[tuple[float, float]]:
    """Points (place on the axis, ms) of the empirical quantile function; each holds from the point before to it."""
    ordered, count = np.sort(latencies_ms), len(latencies_ms)
    places = np.linspace(0, nines(1 - 1 / count) if count > 1 else 0.0, _PLACES)
    ranks = np.ceil(count * (1 - 10.0**-places) - 1e-9).astype(int)
    chosen = np.unique(np.concatenate([ranks, np.arange(max(1, count - _TOP), count)]).clip(1, count - 1 or 1))
    points = [(0.0, float(ordered[0]))]
    points += [(nines(rank / count), float(ordered[rank - 1])) for rank in chosen.tolist() if rank < count]
    return [*points, (_end(count), float(ordered[-1]))]


def nines(q: float) -> float:
    """Where the q-quantile stands on its axis: -log10(1 - q), 1 for p90 and 2 for p99."""
    return -math.log10(1 - q)


def latency_axis(latencies_ms: Values, references: Sequence[Reference] = ()) -> Axis:
    """In ms from 0, or logarithmic where the largest is many times the median: a promise too far above is left out."""
    largest, middle, least = (
        float(value) for value in (latencies_ms.max(), np.median(latencies_ms), latencies_ms.min())
    )
    near = [line.value for line in references if line.value <= _TELLING * largest]
    top = max([largest, *near]) * 1.06
    if least > 0 and largest > _LOGARITHMIC_FROM * middle:
        return logarithmic("ms, on a logarithmic scale", 0.9 * least, 1.1 * top)
    return linear("ms", 0.0, top)


def _strips(course: Course) -> list[tuple[float, float, Values]]:
    """The strips that have a request: from when to when, and the latencies of those due in them."""
    width = course.end / STRIPS
    where = np.minimum((course.at / width).astype(int), STRIPS - 1)
    order = np.argsort(where, kind="stable")
    used, firsts = np.unique(where[order], return_index=True)
    groups = np.split(course.latencies_ms[order], firsts[1:])
    return [(index * width, (index + 1) * width, group) for index, group in zip(used.tolist(), groups, strict=True)]


def _column(course: Course, begin: float, end: float, chosen: Values) -> Column:
    low, high = float(chosen.min()), float(chosen.max())
    when = f"{begin:.4g} .. {end:.4g}"
    said = f"p50 {float(np.median(chosen)):.4g}, {low:.4g} .. {high:.4g} ms"
    return Column(begin, end, low, high, f"{when}: {len(chosen)} due, {said}")


def _worst_mark(course: Course, index: int) -> Mark:
    at, latency = float(course.at[index]), float(course.latencies_ms[index])
    return Mark(at, latency, f"request {number(index)}: {latency:.4g} ms", "worst")


def _kinds(references: Sequence[Reference]) -> list[tuple[str, str]]:
    named = {"limit": "budget", "other": "deadline"}
    return [(kind, named[kind]) for kind in dict.fromkeys(line.kind for line in references)]


def _quantile_axis(count: int) -> Axis:
    ticks = [(0.0, "p0"), (nines(0.5), "p50"), (1.0, "p90")]
    ticks += [(float(digits), f"p99.{'9' * (digits - 2)}".rstrip(".")) for digits in range(2, 7)]
    high = _end(count)
    return Axis("share of the requests that are as fast", 0.0, high, tuple(item for item in ticks if item[0] <= high))


def _end(count: int) -> float:
    """Half a request beyond the last but one, so that the slowest of all has its own step."""
    return math.log10(2 * count) + 1e-9


def _enough(count: int, q: float) -> bool:
    return nines(q) <= _end(count)


def _told(found: Interval) -> str:
    return f"{exact(found.value)} ms, with 95 % confidence {exact(found.low)} .. {exact(found.high)}"
