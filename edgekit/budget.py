"""The budget language: `sqnr_db>=30,p99_ms<=20`, parsed once for every place that takes one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from edgekit.errors import RecipeError, nearest

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
# What the name of a device says that has no silicon: tests play a driver to the runtime.
FAKE_DEVICE = "fake device"

# What can be promised, in which direction, the gate that it belongs to, and between which values it makes sense.
_FRACTION, _ANY = (0.0, 1.0), (-math.inf, math.inf)
_KEYS = {
    # Against the FP32 reference; the worst output counts.
    "sqnr_db": (">=", "accuracy", _ANY),
    "cosine": (">=", "accuracy", (-1.0, 1.0)),
    "agreement": (">=", "accuracy", _FRACTION),
    # Against labels; a drop is the reference's fraction less the model's, a rise is relative to the reference.
    "top1": (">=", "accuracy", _FRACTION),
    "top5": (">=", "accuracy", _FRACTION),
    "top1_drop": ("<=", "accuracy", (-1.0, 1.0)),
    "top5_drop": ("<=", "accuracy", (-1.0, 1.0)),
    # The same drop in the slice that has the largest, such as a class: judged by how many samples that slice has.
    "worst_slice_drop": ("<=", "accuracy", _FRACTION),
    "perplexity": ("<=", "accuracy", (1.0, math.inf)),
    "perplexity_rise": ("<=", "accuracy", (-1.0, math.inf)),
    # One request: from when it was meant to start to when its outputs are there.
    "p50_ms": ("<=", "latency", (0.0, math.inf)),
    "p90_ms": ("<=", "latency", (0.0, math.inf)),
    "p99_ms": ("<=", "latency", (0.0, math.inf)),
    "p999_ms": ("<=", "latency", (0.0, math.inf)),
    "jitter_ms": ("<=", "latency", (0.0, math.inf)),
    "deadline_miss": ("<=", "latency", _FRACTION),
    # A process of its own, from its start to its first outputs, and the most memory that it ever had.
    "cold_start_s": ("<=", "latency", (0.0, math.inf)),
    "peak_rss_mib": ("<=", "latency", (0.0, math.inf)),
}
# What is promised where nobody says anything.
USUAL_BUDGET = "sqnr_db>=30"
# What `edgekit bench` alone measures.
OF_A_PROCESS = ("cold_start_s", "peak_rss_mib")
LABELLED = ("top1", "top5", "top1_drop", "top5_drop", "perplexity", "perplexity_rise", "worst_slice_drop")
_LIMIT = re.compile(r"\s*([A-Za-z_0-9]+)\s*(<=|>=)\s*([0-9.eE+-]+)\s*")
_EXIT_CODES = {"accuracy": 3, "latency": 4}


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


@dataclass(frozen=True)
class Finding:
    """What a measurement says of one limit: `outcome` is PASS, FAIL or INCONCLUSIVE.

    `value` was found; the true value lies above `low`, and below `high`, with 95 % confidence each (accuracy is what it
    is on the data: there both are `value`). `missing` samples would probably decide an INCONCLUSIVE one; None where no
    number of them, up to a million, would. `where` says what `value` was found in, where that is not all of the data,
    `doubts` name the conditions under which it was found that keep it from being a PASS.
    """

    limit: Limit
    outcome: str
    value: float
    low: float
    high: float
    missing: int | None = None
    where: str = ""
    doubts: tuple[str, ...] = ()

    def __str__(self) -> str:
        found = f"{self.limit}: {self.outcome}, found {self.value:.4g}"
        if self.where:
            found += f" in {self.where}"
        if self.limit.gate == "latency":
            found += f" ({self.low:.4g} .. {self.high:.4g})"
        if self.doubts:
            return f"{found}, in doubt: {', '.join(self.doubts)}"
        if self.outcome == INCONCLUSIVE:
            found += f", about {self.missing} samples missing" if self.missing else ", and no number of samples decides"
        return found


def parse_budget(text: str) -> tuple[Limit, ...]:
    """Read `key>=value,key<=value`; RecipeError for an unknown key (the nearest is named) or a wrong direction."""
    limits = []
    for part in text.split(","):
        match = _LIMIT.fullmatch(part)
        value = _number(match.group(3)) if match else None
        if match is None or value is None:
            raise RecipeError(f"expected a budget such as 'sqnr_db>=30,p99_ms<=20', found {part.strip()!r}", "--budget")
        key, relation = match.group(1), match.group(2)
        if key not in _KEYS:
            raise RecipeError(f"budget: unknown key {key!r}; {nearest(key, _KEYS)}", "--budget")
        wanted, gate, (least, most) = _KEYS[key]
        if relation != wanted:
            raise RecipeError(f"budget: expected {key}{wanted}{value:g}, found {key}{relation}{value:g}", "--budget")
        if not least <= value <= most:
            raise RecipeError(f"budget: expected {key} of {least:g} .. {most:g}, found {value:g}", "--budget")
        limits.append(Limit(key, relation, value, gate))
    return tuple(limits)


def budget_text(limits: Iterable[Limit]) -> str:
    """What `parse_budget` reads these limits from, each number with all its digits."""
    return ",".join(f"{limit.key}{limit.relation}{limit.value!r}" for limit in limits)


def judge_exactly(limit: Limit, value: float) -> Finding:
    """A value that is what it is, such as accuracy on the data at hand."""
    return Finding(limit, PASS if limit.holds(value) else FAIL, value, value, value)


def verdict_of(findings: Iterable[Finding]) -> tuple[str, int]:
    """The verdict on all of them and its exit code: 0 PASS, 3 accuracy failed (also when latency did too), 4 latency
    failed, 5 INCONCLUSIVE."""
    outcomes = {(finding.outcome, finding.limit.gate) for finding in findings}
    codes = [_EXIT_CODES[gate] for outcome, gate in outcomes if outcome == FAIL]
    if codes:
        return FAIL, min(codes)
    return (INCONCLUSIVE, 5) if any(outcome == INCONCLUSIVE for outcome, _ in outcomes) else (PASS, 0)


def doubt_fakes(findings: Iterable[Finding], device: str) -> tuple[Finding, ...]:
    """What was found on a device that tests play proves nothing of a real one: there, nothing is a PASS."""
    if FAKE_DEVICE not in device:
        return tuple(findings)
    return tuple(replace(item, outcome=INCONCLUSIVE) if item.outcome == PASS else item for item in findings)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
