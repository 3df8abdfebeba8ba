"""The conditions of a measurement for a page: the machine, its heat and clocks before and after, and the doubts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from edgekit.budget import Finding
from edgekit.latency.conditions import Conditions, Machine, Moment
from edgekit.latency.doubts import Doubt
from edgekit.latency.figures import Course
from edgekit.latency.soak import Window
from edgekit.pages.axes import linear
from edgekit.pages.markup import Cell, Html, Row, Value, facts, joined, paragraph, table
from edgekit.pages.plots import Line, Plot, plot

_HEAT_HEIGHT = 110  # px
_MOST_WINDOWS = 240  # in a plot
_MOST = 40  # zones, clocks or packages in a table
_MOST_OF_A_TEXT = 300


def doubts_table(doubts: Sequence[Doubt], allowed: Collection[str], findings: Sequence[Finding]) -> Html:
    """Each doubt, and whether it keeps a PASS of these findings back, was allowed by name, or changed nothing."""
    if not doubts:
        return paragraph("No doubt about the conditions.")
    decisive = {name for item in findings for name in item.doubts}
    rows = [
        Row((doubt.name, doubt.text[:_MOST_OF_A_TEXT], _effect(doubt.name, decisive, allowed)))
        for doubt in doubts[:_MOST]
    ]
    return table("Conditions that could change a verdict", ("doubt", "found", "what it does"), rows, wide=("found",))


def without_doubts(warnings: Sequence[str], doubts: Sequence[Doubt]) -> list[str]:
    """The warnings that do not say of a doubt what its table says."""
    told = {text for doubt in doubts for text in (doubt.text, str(doubt))}
    return [line for line in warnings if line not in told]


def temperature(conditions: Conditions, windows: Sequence[Window] = (), course: Course | None = None) -> Html:
    """The warmest part: in the course of a soak as a plot on the same axis of time, else before and after in words."""
    if course is not None:
        ends = [*(window.begin_s for window in windows[1:]), course.end]
        known = [(end, one.celsius) for end, one in zip(ends, windows, strict=False) if one.celsius is not None]
        if len(known) > 1:
            return _heat_plot(known, course)
    before, after = conditions.before.hottest_c, conditions.after.hottest_c
    if before is None and after is None:
        return paragraph("Temperature: not known, the machine does not tell any.")
    return paragraph(f"Temperature of the warmest part: {_celsius(before)} before, {_celsius(after)} after.")


def conditions_facts(conditions: Conditions) -> Html:
    """The machine, what changed on it meanwhile, and the SHA-256 of what ran."""
    return joined(facts(_machine(conditions.machine) | _digests(conditions)), _moments(conditions))


def _effect(name: str, decisive: Collection[str], allowed: Collection[str]) -> Cell:
    if name in decisive:
        return Cell("keeps a PASS back", tone="warn")
    return Cell("allowed", tone="unknown") if name in allowed else Cell("changed nothing here")


def _heat_plot(known: Sequence[tuple[float, float]], course: Course) -> Html:
    """Of (end of a window in seconds, degrees Celsius); of very many the warmest of neighbours."""
    each = -(-len(known) // _MOST_WINDOWS)
    points = [max(known[index : index + each], key=lambda point: point[1]) for index in range(0, len(known), each)]
    values = [celsius for _, celsius in points]
    drawn = Plot(
        x=linear(course.unit, 0.0, course.end),
        y=linear("°C of the warmest zone, at the end of each window", min(values) - 1, max(values) + 1, most=4),
        lines=[Line("heat", points)],
        order=("time", "heat"),
        height=_HEAT_HEIGHT,
    )
    return plot("Temperature", drawn)


def _machine(machine: Machine) -> dict[str, Any]:
    host = machine.environment
    clocks = {True: "held", False: "not held", None: None}[machine.gpu_clocks_held]
    told: dict[str, Any] = {
        "CPU": f"{host.cpu or host.machine}, {host.cores or 'an unknown number of'} cores",
        "governor": host.governor,
        "load a core, before": host.load,
        "GPU": ", ".join(machine.gpus) or "none",
        "CUDA driver": machine.cuda_driver,
        "Jetson": machine.jetson,
        "JetPack": machine.jetpack,
        "power mode": machine.power_mode,
        "GPU clocks": clocks,
        "others on the GPU": ", ".join(machine.gpu_users) or None,
        "system": machine.system,
        "versions": f"edgekit {machine.edgekit}, Python {machine.python}",
    }
    packages = ", ".join(f"{name} {version}" for name, version in list(machine.packages.items())[:_MOST])
    known = {name: value for name, value in told.items() if value is not None or name == "governor"}
    return {name: _short(value) for name, value in (known | {"packages": packages or "none"}).items()}


def _digests(conditions: Conditions) -> dict[str, str]:
    return {f"SHA-256 of the {name}": digest for name, digest in list(conditions.digests.items())[:_MOST]}


def _moments(conditions: Conditions) -> Html:
    """What may change meanwhile, beside each other; nothing where the machine tells nothing."""
    before, after = _readings(conditions.before), _readings(conditions.after)
    names = list(dict.fromkeys([*before, *after]))
    if not names:
        return paragraph("Temperatures, clocks and throttling: not known, the machine does not tell any.")
    rows = [(name[:_MOST_OF_A_TEXT], before.get(name), after.get(name)) for name in names[:_MOST]]
    return table("The state of the machine", ("", "before", "after"), rows)


def _readings(moment: Moment) -> dict[str, Value]:
    found: dict[str, Value] = {}
    if moment.load is not None:
        found["load a core"] = moment.load
    found |= {f"{zone}, °C": celsius for zone, celsius in moment.celsius.items()}
    for index, gpu in enumerate(moment.gpus):
        name = f"GPU {index}"
        state = {f"{name}, °C": gpu.celsius, f"{name}, SM clock, MHz": gpu.sm_mhz}
        found |= {key: value for key, value in state.items() if value is not None}
    found |= {f"{clock}, MHz": megahertz for clock, megahertz in moment.clocks_mhz.items()}
    return found | {f"slowed down by {what}, times": times for what, times in moment.throttled.items()}


def _celsius(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1f} °C"


def _short(value: Any) -> Any:
    return value[:_MOST_OF_A_TEXT] if isinstance(value, str) else value
