"""JSON with one meaning: what one reader sees in it, every other reader sees."""

from __future__ import annotations

import json
import math
from typing import Any

from edgekit.errors import IntegrityError

LARGEST_JSON = 1 << 24  # bytes; the names of 20 thousand classes are below 1 MiB
_INT64 = 1 << 63


def parse_json(data: bytes, name: str) -> Any:
    """The value of a JSON text in UTF-8 (RFC 8259).

    Raises IntegrityError for anything else, and for what readers differ about: a byte order mark, a key twice in an
    object, NaN and infinite numbers, integers of more than 64 bits, half of a character, nesting that fills the stack.
    """
    if len(data) > LARGEST_JSON:
        raise IntegrityError(f"expected {name} below {LARGEST_JSON} bytes, found {len(data)}")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # half of a surrogate pair cannot be written
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"expected {name} as strict JSON, found {_found(error)}") from error
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key twice in one object")
    return table


def _integer(text: str) -> int:
    value = int(text) if len(text) <= 20 else _INT64
    if not -_INT64 <= value < _INT64:
        raise ValueError("an integer of more than 64 bits")
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number that is not finite")
    return value


def _constant(text: str) -> float:
    raise ValueError(f"the constant {text}")


def _found(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return f"characters that are none: {error.reason}" if isinstance(error, UnicodeDecodeError) else "half of one"
    return str(error) if isinstance(error, ValueError) else type(error).__name__
