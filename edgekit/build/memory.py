"""Does the memory suffice? Said before the kernel kills the process, which on a device takes the desktop along.

The estimate was measured with TensorRT-RTX 1.7.1 on a CPU, on files of 0.3 to 528 MiB: the libraries take 220 to 300
MiB, by how much of them is resident, and the file, TensorRT's copies and the engine at least four times the file's size
(4.0 for VGG-16 and ResNet-50; 6 for a small network in INT8, and for GPT-2, whose embedding an engine holds twice).
TensorRT itself also times kernels on the GPU, which on a Jetson takes from the same memory: there it is a lower bound.
"""

from __future__ import annotations

from pathlib import Path

from edgekit.device.memory import read_memory
from edgekit.errors import TargetError
from edgekit.reports import resident_mib

_LIBRARIES_MIB = 220
_TIMES_THE_FILE = 4


def needed_mib(serialized_bytes: int) -> int:
    """The least that a process needs to build a model of so many bytes, all in all, in MiB."""
    return _LIBRARIES_MIB + _TIMES_THE_FILE * (serialized_bytes >> 20)


def check_memory(serialized_bytes: int, root: Path = Path("/")) -> tuple[str, ...]:
    """Return a warning where building will need swap. Raises TargetError where swap on disk does not suffice either.

    What could not be read stops nothing.
    """
    memory = read_memory(root)
    if memory.free_mib is None:
        return ()
    more = needed_mib(serialized_bytes) - int(resident_mib())
    swap = memory.disk_swap_mib or 0
    told = f"{memory.free_mib} MiB are free and {swap} MiB of swap on disk"
    if more > memory.free_mib + swap:
        raise TargetError(
            f"expected at least {more} MiB more memory to build this model, found {told}",
            "close other programs and the desktop, or add swap: see docs/jetson.md",
        )
    if more > memory.free_mib:
        return (f"building needs at least {more} MiB more memory, {told}: it will be slow",)
    return ()
