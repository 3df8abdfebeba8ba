"""What the machine is: its GPUs, its Jetson, its packages, and so which targets it can build for and run.

Everything here reads and advises; nothing changes a clock, a power mode or a package.
"""

from edgekit.device.gpus import Gpu, GpuSearch, find_gpus
from edgekit.device.jetson import Jetson, find_jetson
from edgekit.device.preflight import Preflight, preflight, summary_lines
from edgekit.device.readiness import Ability

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
