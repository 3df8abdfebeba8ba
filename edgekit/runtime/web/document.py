"""The page itself: one document with its style and its script inside, and the headers that hold it to that."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path

from edgekit.pages.markup import escape
from edgekit.pages.style import STYLE

_FOLDER = Path(__file__).parent
_SCRIPTS = ("pieces.js", "source.js", "loop.js", "page.js")


def document(title: str) -> bytes:
    """The HTML, as UTF-8."""
    style, script = _texts()
    text = _read("page.html").replace("$TITLE", escape(title)).replace("$STYLE", style).replace("$SCRIPT", script)
    return text.encode()


def headers() -> dict[str, str]:
    """What goes with every reply: no other page may hold, show or read this one, and it may ask nobody but us.

    Style and script are named by their digests (CSP Level 3, w3.org/TR/CSP3), so that nothing else of the page runs.
    """
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in _texts())
    style, script = (f"'sha256-{digest}'" for digest in digests)
    rules = (
        "default-src 'none'",
        f"style-src {style}",
        f"script-src {script}",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return {
        "Content-Security-Policy": "; ".join(rules),
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


@lru_cache(maxsize=1)
def _texts() -> tuple[str, str]:
    return STYLE + _read("page.css"), "".join(map(_read, _SCRIPTS))


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
