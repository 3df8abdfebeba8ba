"""The rules as data: what rules.toml says of each."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from edgekit.recipe import read_toml
from edgekit.specs import from_table

ERROR, NOTE = "error", "note"


@dataclass(frozen=True)
class Rule:
    """`refused` says whether TensorRT-RTX 1.7.1 refuses a model that breaks it, `measured` what it does in words."""

    id: str
    severity: str
    remedy: str
    measured: str
    refused: bool
    source: str


@functools.cache
def rules() -> dict[str, Rule]:
    """All rules by their id."""
    tables = read_toml(Path(__file__).with_name("rules.toml"))
    return {name: from_table(Rule, {"id": name, **table}, f"rules.toml: [{name}]") for name, table in tables.items()}
