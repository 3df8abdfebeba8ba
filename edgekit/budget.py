"""The budget language: `sqnr_db>=30` promises, separated by commas, parsed once for every place that takes one."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edgekit.errors import RecipeError, nearest

# What can be promised, in which direction, and the gate that it belongs to.
_KEYS = {"sqnr_db": (">=", "accuracy")}
_LIMIT = re.compile(r"\s*([A-Za-z_0-9]+)\s*(<=|>=)\s*([0-9.eE+-]+)\s*")


@dataclass(frozen=True)
class Limit:
    """One promise: the measured value of `key` must be on the right side of `value`."""

    key: str
    relation: str
    value: float
    gate: str

    def holds(self, measured: float) -> bool:
        """Whether `measured` keeps the promise; NaN never does."""
        return measured >= self.value if self.relation == ">=" else measured <= self.value

    def __str__(self) -> str:
        return f"{self.key}{self.relation}{self.value:g}"


def parse_budget(text: str) -> tuple[Limit, ...]:
    """Read `key>=value,key<=value`; RecipeError for an unknown key (the nearest is named) or a wrong direction."""
    limits = []
    for part in text.split(","):
        match = _LIMIT.fullmatch(part)
        value = _number(match.group(3)) if match else None
        if match is None or value is None:
            raise RecipeError(f"expected a budget such as 'sqnr_db>=30', found {part.strip()!r}", "--budget")
        key, relation = match.group(1), match.group(2)
        if key not in _KEYS:
            raise RecipeError(f"budget: unknown key {key!r}; {nearest(key, _KEYS)}", "--budget")
        wanted, gate = _KEYS[key]
        if relation != wanted:
            raise RecipeError(f"budget: expected {key}{wanted}{value:g}, found {key}{relation}{value:g}", "--budget")
        limits.append(Limit(key, relation, value, gate))
    return tuple(limits)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
