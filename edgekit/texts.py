"""JSON and other text that anyone may have made, read within limits of size and nesting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LARGEST_JSON = 1 << 27  # bytes; the times of fifteen million requests
# Reports and recipes nest some ten deep; a thousand would fill the stack of whoever walks through them.
DEEPEST = 64


def read_text(path: Path, most: int) -> str:
    """The text of a file in UTF-8.

    Raises OSError where it cannot be read, ValueError for more than `most` bytes, of which no more are read, and for
    bytes that are no UTF-8.
    """
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"more than {most:,} bytes")
    return data.decode("utf-8")


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises OSError where it cannot be read, ValueError for what `parse_json` refuses and
    for more than LARGEST_JSON bytes."""
    return parse_json(read_text(path, LARGEST_JSON))


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; NaN and Infinity are numbers, as in reports of a model that is broken.

    Raises ValueError for anything else, for values more than DEEPEST deep, and for half of a surrogate pair, which no
    terminal and no file would take.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(_too_deep()) from error
    check_nesting(value)
    if ("\\u" if isinstance(text, str) else b"\\u") in text:  # type: ignore[operator]
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def check_nesting(value: Any) -> None:
    """Raise ValueError for lists and tables that lie more than DEEPEST deep in one another."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for item in level for inner in _items(item) if isinstance(inner, (dict, list))]
        if not level:
            return
    raise ValueError(_too_deep())


def _items(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _too_deep() -> str:
    return f"values more than {DEEPEST} deep in one another"
