"""The whole of the conditions under which a latency was measured: the machine, and its state before and after.

Everything is read, nothing changed. What cannot be read is None or left out, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekit.device import preflight
from edgekit.device.clocks import read_clocks
from edgekit.device.gpus import LIBCUDA
from edgekit.device.power import read_power
from edgekit.device.reading import children, number
from edgekit.device.thermal import read_thermal
from edgekit.latency.doubts import Doubt
from edgekit.latency.environment import Environment, environment
from edgekit.latency.nvidia_smi import GpuState, gpu_states, gpu_users

_HOT_C, _WARMING_C = 5.0, 10.0
_VIDEO = "gpu-nvd"


@dataclass(frozen=True)
class Moment:
    """The state at one moment. `celsius` by thermal zone, `margin_c` how far the nearest is below its limit.

    `clocks_mhz` by clock. `throttled` counts, since the machine's start, how often over-current or heat has slowed it
    down, by what did: oc1 to oc3 of a Jetson, `cpu` for the cores of an x86.
    """

    load: float | None
    celsius: dict[str, float]
    margin_c: float | None
    clocks_mhz: dict[str, int]
    throttled: dict[str, int]
    gpus: tuple[GpuState, ...]

    @property
    def hottest_c(self) -> float | None:
        """The warmest part, GPUs among them."""
        gpus = [state.celsius for state in self.gpus if state.celsius is not None]
        return max([*self.celsius.values(), *gpus], default=None)


@dataclass(frozen=True)
class Machine:
    """What does not change while it is measured. `gpu_users` are other programs on the GPU, before the run."""

    environment: Environment
    edgekit: str
    system: str
    python: str
    packages: dict[str, str]
    gpus: tuple[str, ...]
    cuda_driver: str | None
    jetson: str | None
    jetpack: str | None
    power_mode: str | None
    largest_power_mode: bool | None
    gpu_clocks_held: bool | None
    gpu_users: tuple[str, ...]


@dataclass(frozen=True)
class Conditions:
    """`digests` are the SHA-256 of what ran: `model`, and `engine` where one did."""

    machine: Machine
    before: Moment
    after: Moment
    digests: dict[str, str]

    def doubts(self, *, on_gpu: bool, soaked: bool = False) -> tuple[Doubt, ...]:
        """What could change a verdict; other users of the GPU and its clocks only where it was `on_gpu`.

        A soak gets warm, which is what it is for: there the drift tells what came of that.
        """
        found = [*self.machine.environment.doubts(), *_of_heat(self.before, self.after, soaked)]
        if self.machine.largest_power_mode is False:
            found.append(Doubt("power-mode", f"the power mode is {self.machine.power_mode}, not the largest"))
        slowed = _slowed(self.before, self.after, on_gpu)
        if slowed:
            found.append(Doubt("throttled", f"the hardware slowed its clocks meanwhile: {', '.join(slowed)}"))
        if on_gpu and self.machine.gpu_clocks_held is False:
            found.append(Doubt("clocks", "the GPU's clocks are not held: sudo jetson_clocks holds them"))
        if on_gpu and self.machine.gpu_users:
            found.append(Doubt("gpu-users", f"other programs use the GPU: {', '.join(self.machine.gpu_users)}"))
        return tuple(found)


def machine(root: Path = Path("/"), library: str = LIBCUDA, nvidia_smi: str = "nvidia-smi") -> Machine:
    """Read what does not change: before the run, so that `gpu_users` are others. See `preflight` for the arguments."""
    found, power = preflight(root, library), read_power(root)
    held = [clock.held for clock in read_clocks(root).gpus if clock.held is not None and _VIDEO not in clock.name]
    return Machine(
        environment=environment(root),
        edgekit=found.edgekit,
        system=found.system,
        python=found.python,
        packages={name: version for name, version in found.packages.items() if version},
        gpus=tuple(f"{gpu.name}, SM {gpu.compute_capability}" for gpu in found.gpu.gpus),
        cuda_driver=found.gpu.driver,
        jetson=found.jetson.model if found.jetson else None,
        jetpack=found.jetson.jetpack if found.jetson else None,
        power_mode=power.current.name if power and power.current else None,
        largest_power_mode=power.is_largest if power else None,
        gpu_clocks_held=all(held) if held else None,
        gpu_users=gpu_users(nvidia_smi),
    )


def moment(root: Path = Path("/"), nvidia_smi: str = "nvidia-smi") -> Moment:
    """Read the state now."""
    thermal, clocks = read_thermal(root), read_clocks(root)
    named = [*clocks.gpus, *clocks.cpus]
    return Moment(
        load=environment(root).load,
        celsius={zone.name: zone.celsius for zone in thermal.zones if zone.celsius is not None},
        margin_c=thermal.nearest.margin_c if thermal.nearest else None,
        clocks_mhz={clock.name: clock.current_mhz for clock in named if clock.current_mhz is not None},
        throttled={**{item.name: item.events for item in thermal.over_current}, **_cpu_throttles(root)},
        gpus=gpu_states(nvidia_smi),
    )


def hottest_c(root: Path = Path("/")) -> float | None:
    """The warmest thermal zone now, in degrees Celsius: a few small files, quick enough between two requests."""
    hottest = read_thermal(root).hottest
    return hottest.celsius if hottest else None


def _cpu_throttles(root: Path) -> dict[str, int]:
    """thermal_throttle of x86 (https://docs.kernel.org/admin-guide/abi-testing.html, core_throttle_count)."""
    folders = children(root / "sys/devices/system/cpu", "cpu[0-9]*")
    counts = [number(folder / "thermal_throttle/core_throttle_count") for folder in folders]
    known = [count for count in counts if count is not None]
    return {"cpu": sum(known)} if known else {}


def _of_heat(before: Moment, after: Moment, soaked: bool) -> list[Doubt]:
    found = []
    if after.margin_c is not None and after.margin_c < _HOT_C:
        found.append(Doubt("hot", f"the hottest part is {after.margin_c:.1f} C below its limit"))
    if not soaked and before.hottest_c is not None and after.hottest_c is not None:
        risen = after.hottest_c - before.hottest_c
        if risen > _WARMING_C:
            text = (
                f"it got {risen:.1f} C warmer meanwhile, to {after.hottest_c:.1f} C: again while it is warm, or a soak"
            )
            found.append(Doubt("warming", text))
    return found


def _slowed(before: Moment, after: Moment, on_gpu: bool) -> list[str]:
    """By what, with how often where that is counted."""
    counted = {name: count - before.throttled.get(name, count) for name, count in after.throttled.items()}
    found = [f"{name} {times} times" for name, times in counted.items() if times > 0]
    if on_gpu:
        reasons = [reason for state in (*before.gpus, *after.gpus) for reason in state.slowed_by]
        found += [f"GPU by {reason}" for reason in dict.fromkeys(reasons)]
    return found
