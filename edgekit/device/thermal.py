"""How hot it is, how far the nearest limit is, and whether over-current has throttled the clocks since the start."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgekit.device.reading import children, number, word

# A passive trip slows clocks down, a hot one warns, a critical one switches off; an active one only starts a fan
# (https://docs.kernel.org/driver-api/thermal/sysfs-api.html).
_LIMITS = ("passive", "hot", "critical")
# A zone without power reads -256 C, as tegrastats shows it too.
_COLDEST = -200.0


@dataclass(frozen=True)
class Zone:
    """A thermal zone in degrees Celsius; None where it could not be read, as for an engine without power.

    `limit_c` is the lowest of its limits, of kind `limit` (passive, hot or critical); `margin_c` is how far below it
    the zone is, negative when it is above.
    """

    name: str
    celsius: float | None
    limit: str | None
    limit_c: float | None
    margin_c: float | None


@dataclass(frozen=True)
class OverCurrent:
    """How often the power supply has made the hardware throttle since the start, by the event's name, oc1 to oc3."""

    name: str
    events: int


@dataclass(frozen=True)
class Thermal:
    """`nearest` is the zone closest to its limit, `hottest` the warmest; None where no zone tells."""

    zones: tuple[Zone, ...]
    hottest: Zone | None
    nearest: Zone | None
    over_current: tuple[OverCurrent, ...]


def read_thermal(root: Path = Path("/")) -> Thermal:
    """Read /sys/class/thermal, in millidegrees, and the counters of soctherm_oc. Never raises.

    The counters: "Over-current" in https://docs.nvidia.com/jetson/archives/r36.4.3/DeveloperGuide/SD/
    PlatformPowerAndPerformance/JetsonOrinNanoSeriesJetsonOrinNxSeriesAndJetsonAgxOrinSeries.html.
    """
    zones = tuple(_zone(folder) for folder in children(root / "sys/class/thermal", "thermal_zone[0-9]*"))
    return Thermal(
        zones=zones,
        hottest=max((zone for zone in zones if zone.celsius is not None), key=_celsius, default=None),
        nearest=min((zone for zone in zones if zone.margin_c is not None), key=_margin, default=None),
        over_current=_over_current(root),
    )


def _zone(folder: Path) -> Zone:
    celsius = _degrees(folder / "temp")
    limit, limit_c = min(_trips(folder), key=lambda trip: trip[1], default=(None, None))
    margin = None if celsius is None or limit_c is None else round(limit_c - celsius, 3)
    return Zone(word(folder / "type") or folder.name, celsius, limit, limit_c, margin)


def _trips(folder: Path) -> list[tuple[str, float]]:
    """Kind and degrees of each limit; one at or below 0 is not in use."""
    trips = []
    for file in children(folder, "trip_point_*_temp"):
        kind = word(file.with_name(re.sub("temp$", "type", file.name)))
        degrees = _degrees(file)
        if kind in _LIMITS and degrees is not None and degrees > 0:
            trips.append((kind, degrees))
    return trips


def _degrees(file: Path) -> float | None:
    millidegrees = number(file)
    return None if millidegrees is None or millidegrees / 1000 < _COLDEST else millidegrees / 1000


def _over_current(root: Path) -> tuple[OverCurrent, ...]:
    for folder in children(root / "sys/class/hwmon", "hwmon[0-9]*"):
        if word(folder / "name") == "soctherm_oc":
            counters = [(file, number(file)) for file in children(folder, "oc[0-9]*_event_cnt")]
            return tuple(
                OverCurrent(file.name.partition("_")[0], count) for file, count in counters if count is not None
            )
    return ()


def _celsius(zone: Zone) -> float:
    return zone.celsius if zone.celsius is not None else _COLDEST


def _margin(zone: Zone) -> float:
    return zone.margin_c if zone.margin_c is not None else 0.0
