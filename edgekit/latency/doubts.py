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
    "below-bound": "a request took less time than the device can: the measurement is wrong",
    "judge-disagrees": "an outside judge times the same requests otherwise",
}
# By these the same machine gets slower or faster, but half of its requests not ten times: the clocks of an Orin Nano's
# GPU, for one, go from 306 to 1020 MHz (docs/jetson.md).
_OF_SPEED = ("busy", "governor", "clocks", "power-mode", "hot", "warming", "throttled", "gpu-users")
_MARGIN = 10
_MEDIANS = ("p50_ms", "cold_start_s")
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


def told(doubts: Iterable[Doubt], allowed: Iterable[str]) -> list[str]:
    """Each as a warning; one that is not allowed says how to allow it."""
    accepted = set(allowed)
    return [doubt.text if doubt.name in accepted else str(doubt) for doubt in doubts]


def settle(findings: Iterable[Finding], doubts: Iterable[Doubt], allowed: Iterable[str]) -> tuple[Finding, ...]:
    """A PASS becomes INCONCLUSIVE, and says why, when there is a doubt that could change it and is not among `allowed`.

    No load, clock or heat changes how much memory a process needs; nor do they make a median ten times slower, so that
    one of which ten times keep the budget stands whatever the machine was doing. A tail they may.
    """
    accepted = set(allowed)
    names = tuple(doubt.name for doubt in doubts if doubt.name not in accepted)
    return tuple(_doubted(item, names) for item in findings)


def _doubted(item: Finding, names: tuple[str, ...]) -> Finding:
    if item.outcome != PASS or item.limit.key == _MEMORY:
        return item
    if item.limit.key in _MEDIANS and item.limit.holds(_MARGIN * item.high):
        names = tuple(name for name in names if name not in _OF_SPEED)
    return replace(item, outcome=INCONCLUSIVE, doubts=names) if names else item
