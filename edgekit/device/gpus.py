"""Asks the CUDA driver which GPUs there are, through ctypes: no package is needed and no context is made."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

# CUdevice_attribute, CUDA driver API.
_MAJOR, _MINOR, _INTEGRATED = 75, 76, 18
_MIB = 1 << 20


@dataclass(frozen=True)
class Gpu:
    """One GPU; `integrated` means that it shares its memory with the CPU, as on a Jetson."""

    name: str
    compute_capability: str
    memory_mib: int | None
    integrated: bool | None


@dataclass(frozen=True)
class GpuSearch:
    """The GPUs, or the reason why there is none. `driver` is the CUDA version that the driver supports."""

    gpus: tuple[Gpu, ...]
    reason: str
    driver: str | None = None

    @property
    def compute_capabilities(self) -> tuple[str, ...]:
        """Those of the GPUs, each once."""
        return tuple(dict.fromkeys(gpu.compute_capability for gpu in self.gpus))


def find_gpus(library: str = "libcuda.so.1") -> GpuSearch:
    """Look for GPUs; a missing driver or a failing call becomes the reason, never an exception."""
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        return GpuSearch((), f"no NVIDIA driver ({library} is not installed)")
    try:
        if status := cuda.cuInit(0):
            return GpuSearch((), f"the NVIDIA driver refuses to start (cuInit returned {status})")
        version, count = ctypes.c_int(), ctypes.c_int()
        cuda.cuDriverGetVersion(ctypes.byref(version))
        driver = f"{version.value // 1000}.{version.value % 1000 // 10}"
        if (status := cuda.cuDeviceGetCount(ctypes.byref(count))) or count.value == 0:
            return GpuSearch((), f"the NVIDIA driver sees no GPU (status {status})", driver)
        return GpuSearch(tuple(_gpu(cuda, index) for index in range(count.value)), "", driver)
    except AttributeError as error:
        return GpuSearch((), f"{library} is not a CUDA driver: {error}")


def _gpu(cuda: ctypes.CDLL, index: int) -> Gpu:
    device, name, memory = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t()
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetName(name, len(name), device)
    failed = cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    integrated = _attribute(cuda, _INTEGRATED, device)
    return Gpu(
        name=name.value.decode(errors="replace"),
        compute_capability=f"{_attribute(cuda, _MAJOR, device)}.{_attribute(cuda, _MINOR, device)}",
        memory_mib=None if failed else memory.value // _MIB,
        integrated=None if integrated is None else bool(integrated),
    )


def _attribute(cuda: ctypes.CDLL, attribute: int, device: ctypes.c_int) -> int | None:
    value = ctypes.c_int()
    return None if cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device) else value.value
