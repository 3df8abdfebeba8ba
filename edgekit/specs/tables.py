"""Specs and configs from JSON and TOML tables, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from edgekit.errors import RecipeError, nearest


def from_table(kind: Any, table: Mapping[str, Any], where: str) -> Any:
    """Make a spec or config from a JSON or TOML table; an unknown or missing key is an error that helps.

    Of a union of specs, such as `Preprocess`, the one is made whose KIND the table's `kind` says.
    """
    if not isinstance(table, Mapping):
        raise RecipeError(f"{where}: expected a table, found {str(table)[:40]}")
    if isinstance(kind, UnionType):
        kinds = {option.KIND: option for option in get_args(kind)}
        kind = kinds[choose_among("kind", table.get("kind"), kinds, where)]
    hints = get_type_hints(kind)
    known = {item.name for item in fields(kind)}
    values = {}
    for key, value in table.items():
        if key not in known:
            raise RecipeError(f"{where}: unknown key {key!r}; {nearest(key, known)}")
        values[key] = _typed(value, hints[key], f"{where}: {key}")
    for item in fields(kind):
        if item.name not in values and item.default is MISSING and item.default_factory is MISSING:
            raise RecipeError(f"{where}: expected a key {item.name!r}, found none")
    return kind(**values)


def _typed(value: Any, hint: Any, where: str) -> Any:
    """Return a TOML or JSON value as the type that the field declares, or raise RecipeError."""
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    for option in options:
        if get_origin(option) is tuple and isinstance(value, list):
            return tuple(_typed(item, get_args(option)[0], where) for item in value)
        if option is float and type(value) in (int, float):
            return float(value)
        if option is Path and isinstance(value, str):
            return Path(value)
        if option is NoneType and value is None:
            return None
        if isinstance(option, type) and type(value) is option:
            return value
    names = {"tuple": "list"}  # as JSON and TOML call it
    kinds = " or ".join(getattr(option, "__name__", str(option)) for option in options if option is not type(None))
    kinds = names.get(kinds, kinds)
    raise RecipeError(f"{where}: expected {kinds}, found {value!r}")


def choose_among(name: str, value: Any, allowed: Iterable[str], where: str) -> str:
    """Return `value` where it is one of those allowed; else RecipeError with all of them."""
    choices = tuple(allowed)
    if value not in choices:
        raise RecipeError(f"{where}.{name}: expected one of {', '.join(choices)}, found {value!r}")
    return str(value)


def to_table(spec: Any) -> dict[str, Any]:
    """The JSON form of a spec: tuples become lists when dumped."""
    return asdict(spec)
