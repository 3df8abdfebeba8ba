"""What every page of edgekit has to be: well-formed, and whole without a network. Judged by the standard library."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img", "input", "rect", "line"}
FETCHES = re.compile(
    r"""(?:src|href|action|data|poster|srcset)\s*=\s*["']?\s*(?:[a-z]+:)?//|@import|url\(|http-equiv="refresh""", re.I
)


class Page(HTMLParser):
    """Collects the tags, the texts and what is wrong with the nesting of a document."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(source)
        self.close()
        self.faults += [f"<{tag}> is never closed" for tag in self.open]
        self.faults += [f"fetches: {found.group()}" for found in FETCHES.finditer(source)]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        names = [name for name, _ in attrs]
        self.faults += [f"<{tag}> has an attribute twice" for _ in range(len(names) != len(set(names)))]
        self.faults += [f"<{tag}> has a handler {name}" for name in names if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        last = self.open.pop() if self.open else "nothing"
        if last != tag:
            self.faults.append(f"</{tag}> closes {last}")

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def text(self) -> str:
        """What a person reads: all text outside style and script."""
        return " ".join(" ".join(data if tag not in ("style", "script") else "" for tag, data in self.texts).split())

    def count(self, tag: str) -> int:
        """How many elements of one kind there are."""
        return sum(name == tag for name, _ in self.tags)
