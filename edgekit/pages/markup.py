"""Text into markup: the one place that escapes, and the pieces made of text alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape as _escape
from typing import Any

TONES = {"good": "✓", "warn": "!", "bad": "✗", "unknown": "?"}
_UNKNOWN = "not known"
# What an HTML document may not hold (html.spec.whatwg.org, "control-character-in-input-stream"), and lone surrogates,
# which UTF-8 cannot write; JSON can hold both.
_UNWRITABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_BOOLEANS = {True: "yes", False: "no"}


@dataclass(frozen=True)
class Html:
    """Markup made by this room; what is not of this type is text, and is escaped."""

    text: str

    def __bool__(self) -> bool:
        return bool(self.text)


Content = Html | str
Value = Content | int | float | bool | None


@dataclass(frozen=True)
class Cell:
    """One cell of a table: what it shows, its tone, the number it is sorted by, and what a pointer on it tells."""

    value: Value
    tone: str = ""
    sort: float | None = None
    title: str = ""


@dataclass(frozen=True)
class Row:
    """One row of a table, with a tone for all of it."""

    cells: Sequence[Cell | Value]
    tone: str = ""


def escape(text: str) -> str:
    """`text` for any place of a document, quoted attributes too; what HTML cannot hold becomes U+FFFD."""
    return _escape(_UNWRITABLE.sub("�", text), quote=True)


def html(value: Value) -> Html:
    """Any value as markup: text escaped, numbers as `number`, None as "not known"."""
    if isinstance(value, Html):
        return value
    if value is None:
        return element("span", _UNKNOWN, cls="none")
    if isinstance(value, bool):
        return Html(_BOOLEANS[value])
    return Html(escape(value if isinstance(value, str) else number(value)))


def element(tag: str, *parts: Value, cls: str = "", **attributes: str | None) -> Html:
    """An element with escaped content and attributes; an attribute of None is left out, `aria_label` is aria-label."""
    named = {"class": cls or None, **attributes}
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in named.items() if value is not None
    )
    return Html(f"<{tag}{given}>{joined(*parts).text}</{tag}>")


def joined(*parts: Value) -> Html:
    """Parts one after the other."""
    return Html("".join(html(part).text for part in parts))


def paragraph(*parts: Content) -> Html:
    """A paragraph of running text."""
    return element("p", *parts)


def badge(text: str, tone: str) -> Html:
    """A word with a tone, such as a verdict within running text."""
    return element("span", text, cls=f"badge {_tone(tone)}".strip())


def banner(text: str, tone: str, *more: Content) -> Html:
    """What a page has to say before all else, large; `more` are paragraphs below it. The tone may be ''."""
    return element(
        "div", element("strong", text), *(paragraph(part) for part in more if part), cls=f"banner {_tone(tone)}".strip()
    )


def notes(lines: Iterable[str], tone: str = "") -> Html:
    """Remarks or warnings as a list; nothing for none."""
    items = [element("li", line) for line in lines]
    return element("ul", *items, cls=f"notes {_tone(tone)}".strip()) if items else Html("")


def facts(values: Mapping[str, Any]) -> Html:
    """Names and values as a description list; a mapping within is a list within, a sequence is joined by commas."""
    items = []
    for name, value in values.items():
        items += [element("dt", name), element("dd", _fact(value))]
    return element("dl", *items)


def _fact(value: Any) -> Html:
    if isinstance(value, Cell):
        return badge_of(value)
    if isinstance(value, Mapping):
        return facts(value) if value else html("none")
    if isinstance(value, (list, tuple)):
        plain = [item for item in value if not isinstance(item, (Mapping, list, tuple))]
        if len(plain) < len(value):
            return element("ul", *(element("li", _fact(item)) for item in value))
        return html(", ".join(str(item) for item in value) or "none")
    return html(value if isinstance(value, (Html, str, int, float, bool, type(None))) else str(value))


def badge_of(cell: Cell) -> Html:
    """The value of a cell outside a table, with its tone."""
    return element("span", cell.value, cls=f"badge {_tone(cell.tone)}".strip(), title=cell.title or None)


def tiles(values: Mapping[str, Value]) -> Html:
    """The few numbers that a person looks for first, large, each under its name."""
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in values.items()),
        cls="tiles",
    )


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Row | Sequence[Cell | Value]],
    *,
    wide: Collection[str] = (),
    header: int = 0,
    stacks: bool = False,
) -> Html:
    """A table with a caption and named columns, which the page's script lets a person sort.

    Columns of numbers stand to the right. `wide` names those with long texts: they take the room, and break anywhere.
    `header` is the index of the column that names a row. Where it `stacks`, on a narrow screen the cells of a row stand
    below each other, each under the name of its column, so that none is out of sight.
    """
    made = [row if isinstance(row, Row) else Row(row) for row in rows]
    classes = [_column(name in wide, [row.cells[index] for row in made]) for index, name in enumerate(heads)]
    head = [element("th", name, scope="col", cls=cls) for name, cls in zip(heads, classes, strict=True)]
    inner = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *head)),
        element("tbody", *(joined(Html("\n"), _row(row, classes, header, heads if stacks else None)) for row in made)),
    )
    cls = "scroll stacks" if stacks else "scroll"
    return element("div", inner, cls=cls, tabindex="0", role="region", aria_label=caption)


def _column(is_wide: bool, items: Sequence[Cell | Value]) -> str:
    """The class of a column: n for numbers, w for long texts."""
    return "n" if items and all(map(_is_number, items)) else "w" if is_wide else ""


def _row(row: Row, classes: Sequence[str], header: int, labels: Sequence[str] | None) -> Html:
    cells = []
    for index, (item, cls) in enumerate(zip(row.cells, classes, strict=True)):
        cell = item if isinstance(item, Cell) else Cell(item)
        cells.append(
            element(
                "th" if index == header else "td",
                cell.value,
                cls=f"{cls} {_tone(cell.tone)}".strip(),
                scope="row" if index == header else None,
                title=cell.title or None,
                # A number as it is written needs no second form to be sorted by.
                data_v=None if cell.sort is None else f"{cell.sort:.12g}",
                data_label=None if labels is None or index == header else labels[index],
            )
        )
    return element("tr", *cells, cls=_tone(row.tone))


def _is_number(item: Cell | Value) -> bool:
    """Whether a cell can stand in a column of numbers: a number, a text with one to sort by, or nothing known."""
    cell = item if isinstance(item, Cell) else Cell(item)
    number_like = isinstance(cell.value, (int, float)) and not isinstance(cell.value, bool)
    return cell.sort is not None or cell.value is None or number_like


def _tone(tone: str) -> str:
    if tone and tone not in TONES:
        raise ValueError(f"expected a tone of {', '.join(TONES)}, found {tone!r}")
    return f"t-{tone}" if tone else ""


def number(value: int | float) -> str:
    """A whole number with commas between thousands, any other with four digits that count."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def size(count: int | None) -> str:
    """Bytes in units of 1000 with three digits that count; "not known" for None."""
    if count is None:
        return _UNKNOWN
    value, unit = float(count), 0
    while abs(value) >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}" if value < 999.5 else f"{value:,.0f} {_UNITS[unit]}"
