"""Plots with axes as inline SVG: widths in percent of the room that there is, texts as large on a phone as on paper.

Heights are pixels and places across are percents, so that nothing but lines is ever stretched. Lines stand in a nested
picture of 1000 units across, whose strokes keep their width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgekit.pages.axes import Axis
from edgekit.pages.charts import series_class
from edgekit.pages.markup import Html, element, escape, joined

HEIGHT = 220  # px, of the room between the axes
ACROSS = 1000  # units of the nested picture that lines are drawn in
_TICKS_PX = 19  # of the texts below the plot, below those beside it
_LEAST_HEIGHT = 2.0  # px, so that a column whose values are all equal is seen
_LABEL_PX = 15  # from one text of a line to the next
_ABOVE_PX, _HIGHEST_PX = 4, -5  # of a text above its line, and of the highest below the upper edge


@dataclass(frozen=True)
class Reference:
    """A line across the plot at a promised value: its text, and its colour, "limit" or "other"."""

    value: float
    text: str
    kind: str = "limit"


@dataclass(frozen=True)
class Line:
    """Points (x, y) in the order of x, joined; as steps, the value of a point holds from the point before to it."""

    series: str
    points: Sequence[tuple[float, float]]
    is_step: bool = False


@dataclass(frozen=True)
class Column:
    """What lies between `low` and `high` in a strip of the plot from `begin` to `end`; the text is for a pointer."""

    begin: float
    end: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Mark:
    """A point, or with `low` and `high` an interval around it, whose infinite ends go to the edge of the plot."""

    x: float
    y: float
    text: str
    kind: str = "point"
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Plot:
    """Layers from the back to the front; `order` says which series has which colour."""

    x: Axis
    y: Axis
    columns: Sequence[Column] = ()
    lines: Sequence[Line] = ()
    references: Sequence[Reference] = ()
    marks: Sequence[Mark] = ()
    order: Sequence[str] = ()
    height: int = HEIGHT


def plot(title: str, drawn: Plot, legend: Html = Html("")) -> Html:
    """A figure: the plot under its title, the names of its axes beside it, and a legend below."""
    described = f"{drawn.y.label} from {drawn.y.low:.4g} to {drawn.y.high:.4g}, by {drawn.x.label}"
    inner = joined(
        element("desc", described),
        *_grid(drawn),
        *(_column(item, drawn) for item in drawn.columns),
        _lines(drawn),
        *_references(drawn),
        *(_mark(item, drawn) for item in drawn.marks),
    )
    height = str(drawn.height)
    drawing = element("svg", inner, width="100%", height=height, role="img", aria_label=f"{title}: {described}")
    return element(
        "figure",
        element("figcaption", title),
        element("p", drawn.y.label, cls="axis-y"),
        element("div", drawing, cls="plot"),
        element("p", drawn.x.label, cls="axis-x"),
        legend,
    )


def key(entries: Iterable[tuple[str, str]]) -> Html:
    """A legend: the class of each sign, and what it stands for."""
    items = [element("li", element("i", cls=f"key {cls}"), text) for cls, text in entries]
    return element("ul", *items, cls="legend")


def parts_bar(parts: dict[str, float], order: Sequence[str], full: float) -> Html:
    """Parts in a row, each as long as its share of `full`: for a cell of a table that has the numbers as text."""
    start, drawn = 0.0, []
    for name, value in parts.items():
        width = 100 * max(value, 0.0) / full if full > 0 else 0.0
        box = f'x="{start:.4g}%" width="{width:.4g}%" height="12"'
        drawn.append(Html(f'<rect class="{series_class(name, order)}" {box}><title>{escape(name)}</title></rect>'))
        start += width
    return element("svg", *drawn, cls="meter parts", width="100%", height="12", aria_hidden="true")


def _grid(drawn: Plot) -> list[Html]:
    parts = []
    for value, text in drawn.y.ticks:
        y = _y(value, drawn)
        parts.append(Html(f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>'))
        parts.append(element("text", text, x="-7", y=y, dy=".35em", cls="e"))
    for value, text in drawn.x.ticks:
        x = _percent(drawn.x.place(value))
        parts.append(Html(f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="{drawn.height}"/>'))
        parts.append(element("text", text, x=x, y=str(drawn.height + _TICKS_PX), cls="m"))
    return parts


def _column(item: Column, drawn: Plot) -> Html:
    begin, end = drawn.x.place(item.begin), drawn.x.place(item.end)
    place = f'x="{_percent(begin)}" width="{_percent(end - begin)}"'
    top = drawn.height * (1 - drawn.y.place(item.high))
    height = max(drawn.height * (1 - drawn.y.place(item.low)) - top, _LEAST_HEIGHT)
    whole = f'<rect class="whole" {place} height="{drawn.height}"/>'
    band = f'<rect class="band" {place} y="{top:.5g}" height="{height:.4g}"/>'
    return Html(f"<g><title>{escape(item.text)}</title>{whole}{band}</g>")


def _lines(drawn: Plot) -> Html:
    paths = [
        element("path", cls=f"l-{series_class(line.series, drawn.order)}", d=_path(line, drawn))
        for line in drawn.lines
        if line.points
    ]
    if not paths:
        return Html("")
    box = f"0 0 {ACROSS} {drawn.height}"
    return element(
        "svg", *paths, viewBox=box, preserveAspectRatio="none", width="100%", height=str(drawn.height), cls="lines"
    )


def _path(line: Line, drawn: Plot) -> str:
    steps: list[str] = []
    for x, y in line.points:
        across, down = f"{ACROSS * drawn.x.place(x):.5g}", _y(y, drawn)
        if not steps:
            steps.append(f"M{across} {down}")
        else:
            steps.append(f"V{down}H{across}" if line.is_step else f"L{across} {down}")
    return "".join(steps)


def _references(drawn: Plot) -> list[Html]:
    """Dashed lines, then their texts, so that no line crosses one; an arrow stands for a line outside."""
    ordered = sorted(drawn.references, key=lambda one: one.value)
    lines: list[Html] = []
    texts: list[Html] = []
    for item, baseline in zip(ordered, _baselines([float(_y(one.value, drawn)) for one in ordered]), strict=True):
        y = _y(item.value, drawn)
        beyond = "↑ " if item.value > drawn.y.high else "↓ " if item.value < drawn.y.low else ""
        if not beyond:
            lines.append(Html(f'<line class="ref {item.kind}" x1="0" x2="100%" y1="{y}" y2="{y}"/>'))
        texts.append(element("text", beyond + item.text, x="5", y=f"{baseline:.4g}", cls=f"said {item.kind}"))
    return [*lines, *texts]


def _baselines(lines: Sequence[float]) -> list[float]:
    """Where the texts of lines stand, given from the lowest line up: above their own, and above the text below.

    Where so many are close to the upper edge that there is no room above it, they all move down.
    """
    placed: list[float] = []
    for y in lines:
        placed.append(min(y - _ABOVE_PX, placed[-1] - _LABEL_PX) if placed else y - _ABOVE_PX)
    least = float(_HIGHEST_PX)
    for index in reversed(range(len(placed))):
        placed[index] = max(placed[index], least)
        least = placed[index] + _LABEL_PX
    return placed


def _mark(item: Mark, drawn: Plot) -> Html:
    x, y = _percent(drawn.x.place(item.x)), _y(item.y, drawn)
    parts = [Html(f"<title>{escape(item.text)}</title>")]
    if item.low is not None and item.high is not None:
        ends = f'y1="{_y(item.low, drawn)}" y2="{_y(item.high, drawn)}"'
        parts.append(Html(f'<line class="whisker" x1="{x}" x2="{x}" {ends}/>'))
    parts.append(Html(f'<circle cx="{x}" cy="{y}" r="4"></circle>'))
    return element("g", *parts, cls=f"mark {item.kind}")


def _y(value: float, drawn: Plot) -> str:
    return f"{drawn.height * (1 - drawn.y.place(value)):.5g}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.5g}%"
