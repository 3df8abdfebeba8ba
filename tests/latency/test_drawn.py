"""Figures of latencies, read back from their SVG: they are numpy's numbers, and the worst is always there."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from edgekit.budget import INCONCLUSIVE, Finding, parse_budget
from edgekit.latency.figures import STRIPS, Course, by_number, by_quantile, limits_of, nines, over_time, quantile_line
from edgekit.latency.stats import summarise
from tests.html_checks import Page
from tests.pages.drawn import Drawn

TIME, QUANTILE = "Latency over time", "Latency by quantile"


def course(count: int, seed: int = 0) -> Course:
    """Lognormal latencies at a hundred a second, one of which is 300 ms."""
    random = np.random.default_rng(seed)
    latencies = random.lognormal(1, 0.3, count)
    latencies[2 * count // 3] = 300.0
    return Course(latencies, np.arange(count) / 100)


def limits(budget: str, deadline_ms: float | None = None):
    found = [Finding(limit, INCONCLUSIVE, 0.0, 0.0, 0.0) for limit in parse_budget(budget)]
    return limits_of(found, deadline_ms)


@pytest.mark.parametrize("count", [50, 3000, 100_000])
def test_each_strip_of_time_has_numpys_least_and_largest(count):
    given = course(count)
    drawn = over_time(given, ())
    found = Drawn(drawn.text, TIME)
    columns = found.columns()
    edges = np.linspace(0, given.at[-1], STRIPS + 1)
    strips = [given.latencies_ms[(given.at >= low) & (given.at < high)] for low, high in itertools.pairwise(edges)]
    strips[-1] = np.append(strips[-1], given.latencies_ms[-1])
    filled = [strip for strip in strips if len(strip)]
    assert [high for *_, high in columns] == pytest.approx([strip.max() for strip in filled], rel=2e-3)
    if count >= 3000:  # a strip of one value is two pixels high, to be seen
        assert [low for _, _, low, _ in columns] == pytest.approx([strip.min() for strip in filled], rel=2e-3)
    assert max(high for *_, high in columns) == pytest.approx(300, rel=2e-3), "the worst is never lost"
    assert max(found.marks("worst"), key=lambda mark: mark[1]) == pytest.approx(
        (given.at[2 * count // 3], 300), rel=2e-3
    )
    assert len(drawn.text) < 60_000


def test_the_medians_of_the_strips():
    given = Course(np.concatenate([np.full(800, 2.0), np.full(800, 6.0)]), np.arange(1600) / 100)
    line = Drawn(over_time(given, ()).text, TIME).line()
    assert [value for _, value in line] == pytest.approx([2.0] * 80 + [6.0] * 80, rel=1e-3)
    assert line[0][0] == pytest.approx(0.05, abs=0.01)
    assert line[-1][0] == pytest.approx(15.94, abs=0.02)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 97, 1000, 100_000])
def test_the_line_by_quantile_is_numpys_and_never_below_it(count):
    latencies = np.random.default_rng(count).lognormal(1, 0.8, count)
    points = quantile_line(latencies)
    assert len(points) < 400
    places = [place for place, _ in points]
    assert places == sorted(places)
    assert points[-1][1] == latencies.max()
    assert points[-2][0] == pytest.approx(math.log10(count), abs=1e-6), "the slowest has its own step"
    for q in np.concatenate([np.linspace(0.001, 0.999, 333), 1 - 1 / np.geomspace(2, 2 * count, 50)]).tolist():
        held = next((value for place, value in points if place >= nines(q) - 1e-12), points[-1][1])
        truth = np.quantile(latencies, q, method="inverted_cdf")
        assert held >= truth
        # Between two places it is at the upper of them, which is no farther than one of 280 steps.
        assert held <= np.quantile(latencies, min(1.0, 1 - (1 - q) * 0.94 + 1 / count), method="inverted_cdf")
    top = np.sort(latencies)[-min(40, count) :]
    assert set(top.tolist()) <= {value for _, value in points}


@pytest.mark.parametrize("count", [30, 1000, 20_000])
def test_by_quantile_marks_what_the_summary_says(count):
    given = course(count)
    summary = summarise(given.latencies_ms)
    found = Drawn(by_quantile(given, summary, limits("p99_ms<=12", 33.3)).text, QUANTILE)
    marks = found.marks("interval")
    assert len(marks) == {30: 2, 1000: 4, 20_000: 4}[count], "what has no place on the axis has no mark"
    known = [(nines(q), getattr(summary, key)) for key, q in [("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99)]]
    for (place, interval), mark, ends in zip(known, marks, found.whiskers(), strict=False):
        assert mark == pytest.approx((place, interval.value), rel=3e-3)
        assert ends[0] == pytest.approx(interval.low, rel=3e-3)
        if math.isfinite(interval.high):
            assert ends[1] == pytest.approx(interval.high, rel=3e-3)
    assert found.references() == pytest.approx([12, 33.3], rel=3e-3)
    assert found.said() == ["budget p99 ≤ 12 ms", "deadline 33.3 ms"]
    assert found.line()[-1][1] == pytest.approx(300, rel=3e-3)


def test_which_promises_are_lines():
    found = limits("p50_ms<=5,p999_ms<=40,jitter_ms<=3,cold_start_s<=2,peak_rss_mib<=900,p50_ms<=5", 20.0)
    assert [(item.value, item.kind) for item in found] == [(5, "limit"), (40, "limit"), (20, "other")]


@pytest.mark.parametrize(
    "latencies", [[7.0], [7.0, 7.0], [0.0], [0.0] * 500, [3.0] * 500, [1e-4] * 99 + [1e4], [0.0, *[1.0] * 98, 50.0]]
)
def test_one_request_and_all_alike(latencies):
    given = by_number(latencies)
    summary = summarise(given.latencies_ms)
    for figure in (over_time(given, ()), by_quantile(given, summary, ())):
        assert Page(figure.text).faults == []
        assert "nan" not in figure.text
        assert "inf" not in figure.text.replace("infinite", "")
    found = Drawn(over_time(given, ()).text, TIME)
    assert max(mark[1] for mark in found.marks("worst")) == pytest.approx(max(latencies), rel=2e-3, abs=1e-3)


def test_many_times_the_median_makes_the_axis_logarithmic_and_far_promises_are_arrows():
    spread = by_number([1.0] * 99 + [50.0])
    assert "logarithmic" in over_time(spread, ()).text
    assert "logarithmic" not in over_time(by_number([1.0] * 99 + [3.0]), ()).text
    far = Drawn(over_time(by_number([1.0] * 99 + [3.0]), limits("p50_ms<=2,p99_ms<=60000")).text, TIME)
    assert far.said() == ["budget p50 ≤ 2 ms", "↑ budget p99 ≤ 60,000 ms"]
    assert far.references() == pytest.approx([2], rel=2e-3)
