"""How hot the device is and how fast it runs, where its files tell: read while somebody looks, every two seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.device.clocks import Clock, read_clocks
from edgekit.device.power import read_power
from edgekit.device.thermal import Zone, read_thermal

_NEAR_C = 10.0  # this far below its limit a zone is worth a look


def machine_state(root: Path = Path("/")) -> dict[str, Any] | None:
    """`temperatures`, `clocks` and `facts`, each a list of (name, text, tone); None where the device tells nothing."""
    thermal, clocks, power = read_thermal(root), read_clocks(root), read_power(root)
    temperatures = [_zone(zone) for zone in thermal.zones if zone.celsius is not None]
    speeds = [_clock(clock.name, [clock]) for clock in clocks.gpus]
    if clocks.cpus:
        speeds.append(_clock(f"{len(clocks.cpus)} CPU cores", clocks.cpus))
    if clocks.memory_mhz is not None:
        speeds.append(("memory", f"{clocks.memory_mhz} MHz", ""))
    facts = [("power mode", power.current.name, "")] if power and power.current else []
    throttled = [
        (f"throttled by {counter.name}", f"{counter.events} times", "warn")
        for counter in thermal.over_current
        if counter.events
    ]
    found = {"temperatures": temperatures, "clocks": [row for row in speeds if row[1]], "facts": facts + throttled}
    return found if any(found.values()) else None


def _zone(zone: Zone) -> tuple[str, str, str]:
    if zone.limit_c is None or zone.margin_c is None:
        return zone.name, f"{zone.celsius:.1f} °C", ""
    tone = "bad" if zone.margin_c <= 0 else "warn" if zone.margin_c <= _NEAR_C else ""
    return zone.name, f"{zone.celsius:.1f} °C of {zone.limit_c:g} °C ({zone.limit})", tone


def _clock(name: str, clocks: list[Clock] | tuple[Clock, ...]) -> tuple[str, str, str]:
    """Several clocks in one line: the slowest and the fastest, and the most that any could be."""
    now = [clock.current_mhz for clock in clocks if clock.current_mhz is not None]
    most = [clock.max_mhz for clock in clocks if clock.max_mhz is not None]
    if not now:
        return name, "", ""
    speed = f"{min(now)}" if min(now) == max(now) else f"{min(now)} to {max(now)}"
    return name, f"{speed} MHz" + (f" of {max(most)} MHz" if most else ""), ""
