"""What this machine is: GPUs, drivers, packages, and whether it is a Jetson. Standard library only."""

from edgekit.device.gpus import Gpu, GpuSearch, find_gpus
from edgekit.device.jetson import Jetson, find_jetson
from edgekit.device.preflight import Ability, Preflight, preflight, summary_lines

__all__ = [
    "Ability",
    "Gpu",
    "GpuSearch",
    "Jetson",
    "Preflight",
    "find_gpus",
    "find_jetson",
    "preflight",
    "summary_lines",
]
