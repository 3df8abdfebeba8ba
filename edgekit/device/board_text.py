"""The rows that `edgekit doctor` has for a Jetson alone; what is not known says so or is left out."""

from __future__ import annotations

from dataclasses import replace

from edgekit.device.board import Board
from edgekit.device.clocks import Clock, Clocks
from edgekit.device.memory import Memory
from edgekit.device.modules import Module
from edgekit.device.packages import Installed
from edgekit.device.power import Power
from edgekit.device.thermal import Thermal

Rows = list[tuple[str, str]]


def memory_rows(memory: Memory) -> Rows:
    """What a build can have, the container's limit where there is one, and swap."""
    free = f"{or_unknown(memory.free_mib, ' MiB')} for a build, which CPU and GPU share"
    if memory.limit_mib is not None:
        used = or_unknown(memory.used_mib, " MiB")
        free += f"; this container may use {memory.limit_mib} MiB and uses {used}"
    return [("free", free), ("swap", _swap_text(memory))]


def board_rows(board: Board) -> Rows:
    """Module, JetPack, its packages, power mode, clocks and heat, each on a row of its own."""
    rows = [
        ("module", _module_text(board.module)),
        ("JetPack", _jetpack_text(board)),
        ("installed", _installed_text(board.installed)),
        ("power", _power_text(board.power)),
        ("clocks", _clocks_text(board.clocks)),
        ("heat", _heat_text(board.thermal)),
    ]
    if board.thermal.over_current:
        counts = ", ".join(f"{item.name} {item.events}" for item in board.thermal.over_current if item.events)
        rows.append(("throttled", f"by over-current since the start: {counts + ' times' if counts else 'never'}"))
    return rows


def or_unknown(value: object, unit: str = "") -> str:
    """The value with its unit, or `unknown`."""
    return "unknown" if value is None else f"{value}{unit}"


def _swap_text(memory: Memory) -> str:
    if memory.disk_swap_mib is None or memory.zram_mib is None:
        return "unknown"
    parts = [f"{memory.disk_swap_mib} MiB on disk"] if memory.disk_swap_mib else []
    parts += [f"{memory.zram_mib} MiB of zram, which is memory itself"] if memory.zram_mib else []
    return ", ".join(parts) or "none"


def _module_text(module: Module | None) -> str:
    if module is None:
        return "unknown"
    known = [item for item in (module.name, module.number and module.number.upper()) if item]
    name = ", ".join(known) or "not named in the device tree"
    return f"{name}: --device {module.device}" if module.device else f"{name}; no name for --device"


def _jetpack_text(board: Board) -> str:
    facts = board.jetpack
    known = "unknown"
    if facts:
        known = f"{facts.version}: CUDA {facts.cuda}, TensorRT {facts.tensorrt}, Python {facts.python}"
    if board.tensorrt is None:
        return known
    return f"{known}; {f'--target {board.target}' if board.target else 'no target of edgekit'}"


def _installed_text(installed: Installed) -> str:
    if not installed.known:
        return "unknown: dpkg's list cannot be read"
    yes_no = {True: "yes", False: "no"}
    return (
        f"TensorRT {installed.tensorrt or 'no'}, its Python {yes_no[bool(installed.tensorrt_python)]}, its headers "
        f"{yes_no[bool(installed.tensorrt_headers)]}; CUDA toolkit {installed.cuda_toolkit or 'no'}, nvcc "
        f"{yes_no[installed.nvcc]}"
    )


def _power_text(power: Power | None) -> str:
    if power is None:
        return "unknown"
    current = f"{power.current.name} (mode {power.current.id})" if power.current else "unknown"
    others = ", ".join(f"{mode.name} ({mode.id})" for mode in power.modes)
    return f"{current}; modes: {others}" if others else current


def _clocks_text(clocks: Clocks) -> str:
    parts = [_clock_text(clock, clock.name) for clock in clocks.gpus]
    alike: dict[tuple[int | None, ...], list[Clock]] = {}
    for core in clocks.cpus:
        alike.setdefault((core.min_mhz, core.max_mhz, core.largest_mhz), []).append(core)
    for cores in alike.values():
        same = len({core.current_mhz for core in cores}) == 1
        parts.append(_clock_text(cores[0] if same else replace(cores[0], current_mhz=None), f"{len(cores)} CPUs"))
    if clocks.memory_mhz is not None:
        parts.append(f"memory {clocks.memory_mhz} MHz")
    held = {True: "; held", False: "; not held", None: ""}[clocks.held]
    return ", ".join(parts) + held if parts else "unknown"


def _clock_text(clock: Clock, name: str) -> str:
    """`17000000.gpu 306 MHz (306 to 918, hardware 1020)`, or one number for a clock that is held."""
    if clock.held:
        return f"{name} {or_unknown(clock.max_mhz)} MHz"
    bounds = f"{or_unknown(clock.min_mhz)} to {or_unknown(clock.max_mhz)}"
    hardware = clock.largest_mhz
    beyond = f", hardware {hardware}" if hardware is not None and hardware != clock.max_mhz else ""
    if clock.current_mhz is None:
        return f"{name} {bounds} MHz{beyond and f' ({beyond[2:]})'}"
    return f"{name} {clock.current_mhz} MHz ({bounds}{beyond})"


def _heat_text(thermal: Thermal) -> str:
    hottest, zone = thermal.hottest, thermal.nearest
    if hottest is None:
        return "unknown"
    warmest = f"{hottest.name} is the hottest at {hottest.celsius:.1f} C"
    if zone is None or zone.margin_c is None:
        return warmest
    name = "" if zone is hottest else f" {zone.name}"
    away = f"{abs(zone.margin_c):.1f} C {'below' if zone.margin_c >= 0 else 'above'}"
    return f"{warmest},{name} {away} its {zone.limit} limit of {zone.limit_c:.1f} C"
