"""Conditions that could change a verdict: under one that nobody has allowed by name, nothing is a PASS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from edgekit.budget import INCONCLUSIVE, PASS, Finding
from edgekit.errors import UsageError, nearest

DOUBTS = {
    "busy": "other programs want the CPU",
    "governor": "the CPU's clock follows the load",
    "clocks": "the GPU's clocks are not held",
    "power-mode": "the power mode allows less than the device can",
    "hot": "a part is within 5 C of its limit",
    "warming": "a part got more than 10 C warmer meanwhile, and is not yet as warm as it will be",
    "throttled": "the hardware slowed its clocks meanwhile",
    "gpu-users": "other programs use the GPU",
    "made-up-inputs": "no real inputs were given",
    "drift": "it got slower or faster in the course of a soak",
}
_MEMORY = "peak_rss_mib"


@dataclass(frozen=True)
class Doubt:
    """A name of `DOUBTS`, by which it is allowed, and what was found."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.text} (--allow {self.name})"


def check_allowed(names: Iterable[str]) -> None:
    """Raise UsageError for what is no doubt; the nearest is named."""
    for name in names:
        if name not in DOUBTS:
            raise UsageError(
                f"expected the name of a doubt to allow, found {name!r}; {nearest(name, DOUBTS)}", "--allow"
            )


def settle(findings: Iterable[Finding], doubts: Iterable[Doubt], allowed: Iterable[str]) -> tuple[Finding, ...]:
    """A PASS becomes INCONCLUSIVE, and says why, when there is a doubt that is not among the `allowed` names.

    But for memory: no load, clock or heat changes how much of it a process needs.
    """
    names = tuple(doubt.name for doubt in doubts if doubt.name not in set(allowed))
    if not names:
        return tuple(findings)
    return tuple(
        replace(item, outcome=INCONCLUSIVE, doubts=names)
        if item.outcome == PASS and item.limit.key != _MEMORY
        else item
        for item in findings
    )
