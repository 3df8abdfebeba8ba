"""Bars as inline SVG: widths in percent of the room that there is, colours by class, and every number also as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgekit.pages.markup import Content, Html, element, escape, html, joined

COLOURS = 8
_HEIGHT = 100  # of one half of `columns`, px


@dataclass(frozen=True)
class Bar:
    """One bar: its label, its length in the chart's unit, the value as text, and its series (for the colour)."""

    label: str
    value: float
    text: str = ""
    series: str = ""


def series_class(name: str, order: Sequence[str]) -> str:
    """The colour class of a series: its place in `order`; grey for one that is not in it."""
    return f"s{order.index(name) % COLOURS}" if name in order else "s-none"


def stacked_bar(
    title: str, shares: Mapping[str, float], order: Sequence[str] = (), texts: Mapping[str, str] = {}
) -> Html:
    """One bar of parts that make a whole, with a legend: `shares` are in any one unit and need not sum up to 1.

    `texts` are what the legend says of a part instead of its percentage.
    """
    whole = sum(shares.values())
    if whole <= 0:
        return Html("")
    order = order or tuple(shares)
    said = {name: texts.get(name, f"{100 * share / whole:.1f} %") for name, share in shares.items()}
    start, parts = 0.0, []
    for name, share in shares.items():
        width = 100 * share / whole
        parts.append(_rectangle(start, width, series_class(name, order), f"{name}: {said[name]}"))
        start += width
    described = ", ".join(f"{name} {said[name]}" for name in shares)
    drawing = _svg(title, described, "stack", 26, parts)
    return _figure(title, drawing, legend(shares, order, said))


def bars(title: str, items: Sequence[Bar], order: Sequence[str] = (), most: float | None = None) -> Html:
    """Horizontal bars under one another, each with its label and value; `most` is the length of a full bar."""
    full = most or max((item.value for item in items), default=0) or 1
    names = tuple(dict.fromkeys(item.series for item in items if item.series))
    order = order or names
    rows = [
        element(
            "tr",
            element("th", item.label, scope="row"),
            element("td", meter(item.value / full, item.series, order), cls="m"),
            element("td", item.text or f"{item.value:,.4g}", cls="n"),
        )
        for item in items
    ]
    inner = element("table", element("caption", title), element("tbody", *rows), cls="bars")
    return _figure("", inner, legend(names, order) if len(names) > 1 else Html(""))


def meter(fraction: float, series: str = "", order: Sequence[str] = ()) -> Html:
    """A bar for a cell of a table, filled to `fraction` (0 to 1); the number stands beside it as text."""
    width = 100 * min(max(fraction, 0.0), 1.0)
    rectangle = f'<rect class="{series_class(series, order)}" width="{width:.4g}%" height="10"/>' if width else ""
    return Html(f'<svg class="meter" width="100%" height="10" aria-hidden="true">{rectangle}</svg>')


def columns(
    title: str, upper: tuple[str, Sequence[Bar]], lower: tuple[str, Sequence[Bar]], order: Sequence[str]
) -> Html:
    """Two rows of columns over the same steps, `upper` growing up and `lower` down, each `(what it is, its bars)`.

    Each half is drawn to its own largest value, which is written beside it.
    """
    parts = []
    for down, (what, items) in enumerate((upper, lower)):
        full = max((item.value for item in items), default=0) or 1
        step = 100 / max(len(items), 1)
        for index, item in enumerate(items):
            height = _HEIGHT * item.value / full
            if height <= 0:
                continue
            y = _HEIGHT + 2 if down else _HEIGHT - height
            cls = series_class(item.series, order)
            said = f"{item.label}: {item.text or item.value} ({what})"
            parts.append(_rectangle(index * step, step * 0.82, cls, said, y=y, height=height))
    line = f'<line class="axis" x1="0" x2="100%" y1="{_HEIGHT + 1}" y2="{_HEIGHT + 1}"/>'
    used = tuple(dict.fromkeys(item.series for _, items in (upper, lower) for item in items if item.value > 0))
    described = f"Above the line {upper[0]}, below it {lower[0]}, of {len(upper[1])} steps from left to right"
    drawing = _svg(title, described, "columns", 2 * _HEIGHT + 2, [Html(line), *parts])
    names = [element("span", f"{place}: {_scale(*half)}") for place, half in (("above", upper), ("below", lower))]
    return _figure(title, drawing, element("p", *names, cls="axes"), legend(used, order))


def _scale(what: str, items: Sequence[Bar]) -> str:
    """What a half shows, with the value of its longest column."""
    longest = max(items, key=lambda item: item.value, default=None)
    return f"{what}, at the most {longest.text or longest.value}" if longest else what


def swatch(name: str, order: Sequence[str]) -> Html:
    """A name of a series with its colour, for a cell of a table."""
    return joined(element("i", cls=f"swatch {series_class(name, order)}"), name)


def legend(names: Sequence[str] | Mapping[str, float], order: Sequence[str], texts: Mapping[str, str] = {}) -> Html:
    """The colours of series by name, with a text for each."""
    items = [
        element(
            "li", element("i", cls=series_class(name, order)), element("b", name or "none"), " ", texts.get(name, "")
        )
        for name in names
    ]
    return element("ul", *items, cls="legend")


def _rectangle(x: float, width: float, cls: str, title: str, *, y: float = 0, height: float = 26) -> Html:
    place = f'x="{x:.4g}%" y="{y:.4g}" width="{width:.4g}%" height="{max(height, 0.5):.4g}"'
    return Html(f'<rect class="{cls}" {place}><title>{escape(title)}</title></rect>')


def _svg(title: str, described: str, cls: str, height: int, parts: Sequence[Html]) -> Html:
    inner = joined(element("title", title), element("desc", described), *parts)
    return element(
        "svg", inner, cls=cls, width="100%", height=str(height), role="img", aria_label=f"{title}: {described}"
    )


def _figure(title: Content, *parts: Html) -> Html:
    return element("figure", element("figcaption", html(title)) if title else "", *parts)
