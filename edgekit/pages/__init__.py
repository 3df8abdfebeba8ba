"""Self-contained HTML pages: what a report shows to a person, in one file that needs no network.

A page holds its style and its one small script inline; its Content-Security-Policy names both by their digest, so that
nothing else of the file would run or be fetched even if a name in it were hostile. All text is escaped in one place,
`markup.escape`: the pieces take `str` as text, and only what they return (`Html`) counts as markup.

    page("resnet50.engine", [
        section("Facts", facts({"bytes": 51433180, "flavour": "rtx"})),
        section("Nodes", table("Nodes of the model", ("node", "verdict"), [
            Row(("conv1", Cell("builds", tone="good"))),
            Row(("lstm", Cell("refused", tone="bad")), tone="bad"),
        ])),
    ])

Tones are "good", "warn", "bad" and "unknown"; each has a sign as well as a colour. A series is a name that has the
same colour wherever it is drawn: its place in `order` decides.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path

from edgekit.files import written_aside
from edgekit.pages.charts import Bar, bars, columns, legend, meter, stacked_bar, swatch
from edgekit.pages.markup import (
    Cell,
    Content,
    Html,
    Row,
    Value,
    badge,
    banner,
    element,
    escape,
    facts,
    html,
    joined,
    notes,
    number,
    paragraph,
    size,
    table,
    tiles,
)
from edgekit.pages.style import PLOT_STYLE, SCRIPT, STYLE

__all__ = [
    "Bar",
    "Cell",
    "Content",
    "Html",
    "Row",
    "Value",
    "badge",
    "banner",
    "bars",
    "columns",
    "element",
    "escape",
    "facts",
    "html",
    "joined",
    "legend",
    "meter",
    "notes",
    "number",
    "page",
    "paragraph",
    "section",
    "size",
    "stacked_bar",
    "swatch",
    "table",
    "tiles",
    "write_page",
]

_STYLE = STYLE + PLOT_STYLE


def page(title: str, sections: Iterable[Html], subtitle: Content = "") -> str:
    """A whole HTML document: `title` as its heading, `subtitle` below it, then the sections in their order."""
    head = joined(
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">'),
        element("title", title),
        Html(f"<style>{_STYLE}</style>"),
    )
    heading = element("header", element("h1", title), paragraph(subtitle) if subtitle else "")
    body = joined(heading, element("main", *sections), Html(f"<script>{SCRIPT}</script>"))
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head.text}\n</head>\n<body>\n{body.text}\n</body>\n</html>\n'


def section(heading: str, *parts: Content) -> Html:
    """A part of a page under its own heading; `parts` that are text become paragraphs."""
    made = (paragraph(part) if isinstance(part, str) else part for part in parts if part)
    return element("section", element("h2", heading), *made)


def write_page(out: Path, text: str) -> None:
    """Write a page as UTF-8; it appears whole or not at all. Raises OutputError where `out` cannot be written."""
    with written_aside(out) as partial:
        partial.write_bytes(text.encode("utf-8"))


def _policy() -> str:
    """What the page may load: its own style and script by digest (CSP Level 3, w3.org/TR/CSP3), inline pictures."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (_STYLE, SCRIPT))
    style, script = (f"'sha256-{digest}'" for digest in digests)
    rules = ("default-src 'none'", f"style-src {style}", f"script-src {script}", "img-src data:", "base-uri 'none'")
    return "; ".join((*rules, "form-action 'none'"))
