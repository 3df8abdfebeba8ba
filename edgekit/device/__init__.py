"""What the machine is: its GPUs, its Jetson, its packages, and so which targets it can build for and run.

Everything here reads and advises; nothing changes a clock, a power mode or a package.
"""

from edgekit.device.gpus import Gpu, GpuSearch, find_gpus
from edgekit.device.host import Host, this_host
from edgekit.device.jetson import Jetson, find_jetson
from edgekit.device.memory import Memory, free_memory_mib
from edgekit.device.preflight import Preflight, preflight
from edgekit.device.readiness import Ability
from edgekit.device.summary import summary_lines
from edgekit.device.tegrastats import Tegrastats, parse_tegrastats

__all__ = [
    "Ability",
    "Gpu",
    "GpuSearch",
    "Host",
    "Jetson",
    "Memory",
    "Preflight",
    "Tegrastats",
    "find_gpus",
    "find_jetson",
    "free_memory_mib",
    "parse_tegrastats",
    "preflight",
    "summary_lines",
    "this_host",
]
