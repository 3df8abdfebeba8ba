"""Reads a file of facts, in which each table says in its `source` where its values are from.

The pages that a file cites more than once stand in its table [cited]; a source names one as {name}.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgekit.recipe import read_toml
from edgekit.specs import from_table


@functools.cache
def read_facts(file: str) -> Mapping[str, Any]:
    """The tables of a file beside this module, sources written out."""
    tables = read_toml(Path(__file__).with_name(file))
    cited = tables.pop("cited", {})
    return {name: _written_out(table, cited) for name, table in tables.items()}


def with_sources(kind: type[Any], file: str, name: str) -> Any:
    """Make a spec with the fields `name` and `sources` from a table that has the sub-table `source`.

    Raises RecipeError when a key is not one of the spec's fields or a value not of its type.
    """
    facts = dict(read_facts(file)[name])
    sources = facts.pop("source", {})
    return replace(from_table(kind, {"name": name, **facts}, f"{file}: [{name}]"), sources=sources)


def _written_out(value: Any, cited: Mapping[str, str]) -> Any:
    """The same value with {name} replaced in every text under a key `source`."""
    if isinstance(value, list):
        return [_written_out(item, cited) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _filled(item, cited) if key == "source" else _written_out(item, cited) for key, item in value.items()}


def _filled(source: Any, cited: Mapping[str, str]) -> Any:
    if isinstance(source, dict):
        return {key: text.format_map(cited) for key, text in source.items()}
    return source.format_map(cited)
