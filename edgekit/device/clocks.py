"""The clocks of GPU, CPU and memory, and whether they are held: min == max, as jetson_clocks leaves them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekit.device.reading import children, number, text, whole, word

# The GPU of an Orin is 17000000.gpu; a Thor has gpu-gpc-0 for the compute clusters and gpu-nvd-0 for the video engines
# (both stand so in the output of `jetson_clocks --show`).
_GPU = "*gpu*"
_VIDEO = "gpu-nvd"
_HZ, _KHZ = 1_000_000, 1_000


@dataclass(frozen=True)
class Clock:
    """One clock in MHz; what could not be read is None.

    `held` is whether its bounds leave one frequency. `largest_mhz` is the most that the hardware has, which a power
    mode may forbid.
    """

    name: str
    current_mhz: int | None
    min_mhz: int | None
    max_mhz: int | None
    largest_mhz: int | None
    governor: str | None
    held: bool | None


@dataclass(frozen=True)
class Clocks:
    """`held` says whether every GPU and CPU clock that could be read is; None where none could.

    `memory_mhz` is the memory controller's (EMC) and needs root to read.
    """

    gpus: tuple[Clock, ...]
    cpus: tuple[Clock, ...]
    memory_mhz: int | None
    held: bool | None


def read_clocks(root: Path = Path("/")) -> Clocks:
    """Read devfreq, in Hz (https://docs.kernel.org/admin-guide/abi-testing.html, sysfs-class-devfreq), cpufreq, in kHz
    (https://docs.kernel.org/admin-guide/pm/cpufreq.html), and the memory's clock in debugfs, in Hz. Never raises.
    """
    gpus = tuple(filter(None, (_gpu(folder) for folder in children(root / "sys/class/devfreq", _GPU))))
    folders = children(root / "sys/devices/system/cpu", "cpu[0-9]*")
    cpus = tuple(filter(None, (_cpu(folder) for folder in folders)))
    judged = [clock.held for clock in (*gpus, *cpus) if not clock.name.startswith(_VIDEO) and clock.held is not None]
    rate = number(root / "sys/kernel/debug/bpmp/debug/clk/emc/rate")
    return Clocks(gpus, cpus, _mhz(rate, _HZ), all(judged) if judged else None)


def _gpu(folder: Path) -> Clock | None:
    steps = [whole(item) for item in (text(folder / "available_frequencies") or "").split()]
    return _clock(
        folder.name,
        [number(folder / name) for name in ("cur_freq", "min_freq", "max_freq")],
        max((step for step in steps if step is not None), default=None),
        word(folder / "governor"),
        _HZ,
    )


def _cpu(folder: Path) -> Clock | None:
    """None for a CPU that is switched off: it has no cpufreq."""
    files = [folder / "cpufreq" / f"scaling_{name}_freq" for name in ("cur", "min", "max")]
    largest = number(folder / "cpufreq/cpuinfo_max_freq")
    return _clock(
        folder.name, [number(file) for file in files], largest, word(folder / "cpufreq/scaling_governor"), _KHZ
    )


def _clock(
    name: str, current_min_max: list[int | None], largest: int | None, governor: str | None, unit: int
) -> Clock | None:
    current, low, high = current_min_max
    if current is None and low is None and high is None:
        return None
    held = None if low is None or high is None else low == high
    return Clock(name, _mhz(current, unit), _mhz(low, unit), _mhz(high, unit), _mhz(largest, unit), governor, held)


def _mhz(value: int | None, unit: int) -> int | None:
    return None if value is None or value < 0 else round(value / unit)
