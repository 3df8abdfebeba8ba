"""Is there a GPU, and if not, why: the CUDA driver asked through ctypes, with no package to install.

Names and numbers are those of cuda.h, CUDA Driver API (https://docs.nvidia.com/cuda/cuda-driver-api/).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

LIBCUDA = "libcuda.so.1"

# enum CUdevice_attribute
_INTEGRATED = 18
_COMPUTE_CAPABILITY_MAJOR = 75
_COMPUTE_CAPABILITY_MINOR = 76

_NAME_BYTES = 256
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Gpu:
    """One GPU that the CUDA driver offers; what the driver would not tell is None.

    `integrated` GPUs (a Jetson's) share the memory of the CPU. `compute_capability` is text such as "8.7".
    """

    name: str | None
    compute_capability: str | None
    memory_mib: int | None
    integrated: bool | None


@dataclass(frozen=True)
class GpuSearch:
    """The GPUs found; `reason` says why there are none or what could not be read, and is empty when all is well.

    `driver` is the newest CUDA version that the driver serves, such as "12.6"; None without a driver.
    """

    gpus: tuple[Gpu, ...]
    reason: str
    driver: str | None = None

    @property
    def compute_capabilities(self) -> tuple[str, ...]:
        """Those of the GPUs, each once; one that is not known is left out."""
        return tuple(dict.fromkeys(gpu.compute_capability for gpu in self.gpus if gpu.compute_capability))


class _Refusal(Exception):
    """The driver lacks a function or answered with an error; the text says which."""


def find_gpus(library: str = LIBCUDA) -> GpuSearch:
    """Ask the CUDA driver for its GPUs; never raises. CUDA_VISIBLE_DEVICES is obeyed, as by every CUDA program.

    `library` is a name for the dynamic linker or a path. The call runs cuInit in this process: no context and no
    device memory, but a child made by os.fork() afterwards cannot use CUDA (one made by subprocess can).
    """
    try:
        cuda = ctypes.CDLL(library)
    except OSError as error:
        return GpuSearch((), f"the CUDA driver cannot be loaded: {error}")
    reasons: list[str] = []
    version = _attempt(lambda: _number(cuda, "cuDriverGetVersion"), reasons)
    # cuda.h: 1000 * major + 10 * minor
    driver = None if version is None else f"{version // 1000}.{version % 1000 // 10}"
    try:
        _call(cuda, "cuInit", ctypes.c_uint(0))
        count = _number(cuda, "cuDeviceGetCount")
        gpus = tuple(_describe(cuda, index, reasons) for index in range(count))
    except _Refusal as refusal:
        return GpuSearch((), "; ".join([*reasons, str(refusal)]), driver)
    if not gpus:
        reasons.append("the CUDA driver works and offers no GPU")
    return GpuSearch(gpus, "; ".join(reasons), driver)


def _describe(cuda: ctypes.CDLL, index: int, reasons: list[str]) -> Gpu:
    """What the driver tells of one GPU; each failed question adds to `reasons` and leaves None."""
    about: list[str] = []
    device = _attempt(lambda: _number(cuda, "cuDeviceGet", ctypes.c_int(index)), about)
    name = capability = integrated = memory_mib = None
    if device is not None:
        name = _attempt(lambda: _name(cuda, device), about)
        capability = _attempt(lambda: _capability(cuda, device), about)
        integrated = _attempt(lambda: bool(_attribute(cuda, device, _INTEGRATED)), about)
        memory_mib = _attempt(lambda: _memory_mib(cuda, device), about)
    reasons.extend(f"GPU {index}: {reason}" for reason in about)
    return Gpu(name, capability, memory_mib, integrated)


def _name(cuda: ctypes.CDLL, device: int) -> str:
    text = ctypes.create_string_buffer(_NAME_BYTES)
    _call(cuda, "cuDeviceGetName", text, ctypes.c_int(_NAME_BYTES), ctypes.c_int(device))
    return text.value.decode(errors="replace")


def _capability(cuda: ctypes.CDLL, device: int) -> str:
    major = _attribute(cuda, device, _COMPUTE_CAPABILITY_MAJOR)
    return f"{major}.{_attribute(cuda, device, _COMPUTE_CAPABILITY_MINOR)}"


def _attribute(cuda: ctypes.CDLL, device: int, attribute: int) -> int:
    return _number(cuda, "cuDeviceGetAttribute", ctypes.c_int(attribute), ctypes.c_int(device))


def _memory_mib(cuda: ctypes.CDLL, device: int) -> int:
    size = ctypes.c_size_t()
    _call(cuda, "cuDeviceTotalMem_v2", ctypes.byref(size), ctypes.c_int(device))
    return size.value >> 20


def _number(cuda: ctypes.CDLL, function: str, *arguments: object) -> int:
    """The int that a driver function writes through its first argument."""
    value = ctypes.c_int()
    _call(cuda, function, ctypes.byref(value), *arguments)
    return value.value


def _call(cuda: ctypes.CDLL, function: str, *arguments: object) -> None:
    """Call a driver function; a CUresult other than CUDA_SUCCESS (0) is a _Refusal."""
    try:
        entry = getattr(cuda, function)
    except AttributeError as error:
        raise _Refusal(f"the CUDA driver has no {function}") from error
    status: int = entry(*arguments)
    if status:
        raise _Refusal(f"{function} failed: {_error_name(cuda, status)}")


def _error_name(cuda: ctypes.CDLL, status: int) -> str:
    """`CUDA_ERROR_NO_DEVICE (100)`, or the number alone where the driver has no name for it."""
    text = ctypes.c_char_p()
    named = hasattr(cuda, "cuGetErrorName") and cuda.cuGetErrorName(ctypes.c_int(status), ctypes.byref(text)) == 0
    return f"{text.value.decode(errors='replace')} ({status})" if named and text.value else f"error {status}"


def _attempt(question: Callable[[], _Value], reasons: list[str]) -> _Value | None:
    """The answer, or None with the refusal added to `reasons`."""
    try:
        return question()
    except _Refusal as refusal:
        reasons.append(str(refusal))
        return None
