"""A plot read back from its SVG: what stands in it by the ticks that a person would read it by."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from xml.etree import ElementTree

Point = tuple[float, float]


class Drawn:
    """The figure with this title of a page; lengths are in px down, percents across, and thousandths in lines."""

    def __init__(self, source: str, title: str) -> None:
        figures = [ElementTree.fromstring(text) for text in re.findall(r"<figure>.*?</figure>", source, re.DOTALL)]
        self.figure = next(item for item in figures if item.findtext("figcaption") == title)
        label = self.figure.findtext("p[@class='axis-y']") or ""
        self.y = _inverse(self._ticks("e", "y"), is_log="logarithmic" in label)
        self.x = _inverse(self._ticks("m", "x"), is_log=False)

    def _ticks(self, cls: str, axis: str) -> list[tuple[float, float]]:
        found = []
        for text in self.figure.iter("text"):
            if text.get("class") == cls:
                found.append((float(text.get(axis).rstrip("%")), _value(text.text)))
        return found

    def line(self, cls: str = "l-s0") -> list[Point]:
        """The corners of a line; of steps those at their ends, and the first."""
        path = next(item for item in self.figure.iter("path") if item.get("class") == cls).get("d")
        points = []
        for command, first, second in re.findall(r"([MLV])([-\d.e]+)[ H]([-\d.e]+)", path):
            down, across = (first, second) if command == "V" else (second, first)
            points.append((self.x(float(across) / 10), self.y(float(down))))
        return points

    def columns(self) -> list[tuple[float, float, float, float]]:
        """Of each strip: from where to where, the least and the largest."""
        found = []
        for box in self.figure.iter("rect"):
            if box.get("class") == "band":
                left, width = (float(box.get(name).rstrip("%")) for name in ("x", "width"))
                top, height = (float(box.get(name)) for name in ("y", "height"))
                found.append((self.x(left), self.x(left + width), self.y(top + height), self.y(top)))
        return found

    def marks(self, kind: str) -> list[Point]:
        """The points of one kind."""
        return [
            (self.x(float(dot.get("cx").rstrip("%"))), self.y(float(dot.get("cy"))))
            for mark in self.figure.iter("g")
            if mark.get("class") == f"mark {kind}"
            for dot in mark.iter("circle")
        ]

    def whiskers(self) -> list[Point]:
        """The intervals, low and high."""
        found = [line for line in self.figure.iter("line") if line.get("class") == "whisker"]
        return [(self.y(float(line.get("y1"))), self.y(float(line.get("y2")))) for line in found]

    def references(self) -> list[float]:
        """The values of the dashed lines."""
        return [self.y(float(line.get("y1"))) for line in self.figure.iter("line") if line.get("class")[:4] == "ref "]

    def said(self) -> list[str]:
        """The texts at those lines."""
        return [text.text for text in self.figure.iter("text") if text.get("class")[:5] == "said "]


def _value(text: str) -> float:
    """Of a tick; that of a quantile is its place, -log10(1 - q)."""
    return -math.log10(1 - float(text[1:]) / 100) if text.startswith("p") else float(text.replace(",", ""))


def _inverse(ticks: list[tuple[float, float]], is_log: bool) -> Callable[[float], float]:
    """From a place to the value there, by the first tick and the last."""
    assert len(ticks) >= 2, "a person reads an axis by two ticks"
    into, back = (math.log, math.exp) if is_log else (float, float)
    (place, value), (other, last) = ticks[0], ticks[-1]
    slope = (into(last) - into(value)) / (other - place)
    return lambda where: back(into(value) + slope * (where - place))
