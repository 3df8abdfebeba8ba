"""Plots: what is drawn is what was given, texts do not lie on each other, and names stay texts."""

from __future__ import annotations

import itertools
import math
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.pages import page, section
from edgekit.pages.axes import linear, logarithmic
from edgekit.pages.plots import Column, Line, Mark, Plot, Reference, key, parts_bar, plot
from tests.html_checks import Page
from tests.pages.drawn import Drawn

HOSTILE = "</svg><script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"
POINTS = [(0.0, 3.0), (2.5, 40.0), (7.25, 11.0), (10.0, 0.0)]


def everything(text: str = "plain", y=linear("ms", 0, 50)) -> str:
    drawn = Plot(
        x=linear("s", 0, 10),
        y=y,
        columns=[Column(1, 2, 5, 20, text), Column(2, 3, 7, 7, text)],
        lines=[Line("a", POINTS), Line(text, [])],
        references=[Reference(33, text), Reference(35, text, "other")],
        marks=[Mark(4, 12, text), Mark(5, 20, text, "interval", 10, math.inf)],
        order=("a",),
    )
    return page("T", [section("S", plot(text, drawn, key([("band", text)])), parts_bar({text: 1.0}, (text,), 2))])


def test_a_plot_is_well_formed_and_a_hostile_text_stays_a_text():
    found, plain = Page(everything(HOSTILE)), Page(everything())
    assert found.faults == plain.faults == []
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in plain.tags]
    assert found.text().count(HOSTILE) == plain.text().count("plain")


@pytest.mark.parametrize("y", [linear("ms", 0, 50), logarithmic("ms, on a logarithmic scale", 1, 60)])
def test_what_is_drawn_is_what_was_given(y):
    found = Drawn(everything(y=y), "plain")
    for (at, value), (x, drawn) in zip(POINTS, found.line(), strict=True):
        assert (x, drawn) == pytest.approx((at, max(value, y.low)), rel=1e-3, abs=0.01)
    begin, end, low, high = found.columns()[0]
    assert (begin, end, low, high) == pytest.approx((1, 2, 5, 20), rel=2e-3)
    assert found.columns()[1][3] == pytest.approx(7, rel=2e-3)
    assert found.marks("point") == [pytest.approx((4, 12), rel=1e-3)]
    assert found.references() == pytest.approx([33, 35], rel=1e-3)
    assert found.whiskers() == [pytest.approx((10, y.high), rel=1e-3)], "an infinite end is at the edge"


def test_a_step_holds_until_its_point():
    drawn = Plot(linear("s", 0, 10), linear("ms", 0, 50), lines=[Line("a", POINTS, is_step=True)], order=("a",))
    path = ElementTree.fromstring(plot("T", drawn).text).find(".//path").get("d")
    assert path == "M0 206.8V44H250V171.6H725V220H1000"
    assert Drawn(plot("T", drawn).text, "T").line() == [pytest.approx(point, abs=0.01) for point in POINTS]


def test_a_column_of_one_value_is_seen():
    figure = ElementTree.fromstring(
        plot("T", Plot(linear("s", 0, 1), linear("ms", 0, 9), [Column(0, 1, 4, 4, "")])).text
    )
    bands = [float(box.get("height")) for box in figure.iter("rect") if box.get("class") == "band"]
    assert bands == [2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-10, 70), max_size=6))
def test_texts_of_lines_never_lie_on_each_other(values):
    drawn = Plot(linear("s", 0, 1), linear("ms", 0, 50), references=[Reference(value, "x") for value in values])
    figure = ElementTree.fromstring(plot("T", drawn).text)
    said = [float(text.get("y")) for text in figure.iter("text") if text.get("class") == "said limit"]
    assert all(below - above >= 14.9 for below, above in itertools.pairwise(said))
    assert all(y >= -5.1 for y in said)
    assert sum(line.get("class") == "ref limit" for line in figure.iter("line")) == sum(0 <= v <= 50 for v in values)


def test_texts_of_close_lines_stand_above_the_lowest():
    drawn = Plot(linear("s", 0, 1), linear("ms", 0, 50), references=[Reference(21, "high"), Reference(20, "low")])
    figure = ElementTree.fromstring(plot("T", drawn).text)
    said = {text.text: float(text.get("y")) for text in figure.iter("text") if text.get("class") == "said limit"}
    assert said == {"low": pytest.approx(132 - 4), "high": pytest.approx(132 - 4 - 15)}


def test_a_line_outside_is_told_with_an_arrow():
    drawn = Plot(linear("s", 0, 1), linear("ms", 10, 50), references=[Reference(900, "high"), Reference(1, "low")])
    found = Drawn(plot("T", drawn).text, "T")
    assert found.said() == ["↓ low", "↑ high"]
    assert found.references() == []


def test_parts_stand_in_a_row():
    found = Page(parts_bar({"wait": 3.0, "pre": 1.0, "odd": -1.0}, ("wait", "pre"), 8.0).text)
    boxes = [(box["class"], box["x"], box["width"]) for tag, box in found.tags if tag == "rect"]
    assert boxes == [("s0", "0%", "37.5%"), ("s1", "37.5%", "12.5%"), ("s-none", "50%", "0%")]
    assert Page(parts_bar({"wait": 0.0}, ("wait",), 0.0).text).faults == []
