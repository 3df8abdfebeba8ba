"""What nvidia-smi says of the GPUs: heat, clocks, why they are held back, and who else computes.

The fields are those of `nvidia-smi --help-query-gpu` and `--help-query-compute-apps`. A Jetson has no such program, or
one that answers [N/A].
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

_GPU = "index,name,driver_version,temperature.gpu,clocks.sm,clocks.max.sm,clocks_throttle_reasons.active"
_APPS = "gpu_uuid,pid,process_name"
_TIMEOUT_S = 10
# Bits of the reasons (nvml.h, nvmlClocksEventReason…) that slow a GPU down which has work to do; the others say that
# it is idle, or what somebody has set.
_SLOWED = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "heat, by software",
    0x40: "heat, by hardware",
    0x80: "power brake",
}


@dataclass(frozen=True)
class GpuState:
    """One GPU now; what nvidia-smi would not tell is None. `slowed_by` are the reasons why its clock is held back."""

    name: str
    driver: str
    celsius: float | None
    sm_mhz: float | None
    largest_sm_mhz: float | None
    slowed_by: tuple[str, ...]


def gpu_states(program: str = "nvidia-smi") -> tuple[GpuState, ...]:
    """The GPUs by their index; none without the program, or where it fails. Never raises."""
    return tuple(_state(row) for row in _rows(program, f"--query-gpu={_GPU}") if len(row) == 7)


def gpu_users(program: str = "nvidia-smi") -> tuple[str, ...]:
    """The programs that compute on a GPU, such as `4711 python3`."""
    rows = _rows(program, f"--query-compute-apps={_APPS}")
    return tuple(f"{row[1]} {row[2]}" for row in rows if len(row) == 3 and row[1].isdecimal())


def _state(row: list[str]) -> GpuState:
    _, name, driver, celsius, clock, largest, reasons = row
    bits = int(reasons, 16) if re.fullmatch(r"0x[0-9a-fA-F]{1,16}", reasons) else 0
    slowed = tuple(text for bit, text in _SLOWED.items() if bits & bit)
    return GpuState(name, driver, _number(celsius), _number(clock), _number(largest), slowed)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else None


def _rows(program: str, query: str) -> list[list[str]]:
    found = shutil.which(program)
    if found is None:
        return []
    try:
        done = subprocess.run(
            [found, query, "--format=csv,noheader,nounits"], capture_output=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    lines = done.stdout.decode(errors="replace").splitlines()
    return [[cell.strip() for cell in line.split(",")] for line in lines if line.strip()]
