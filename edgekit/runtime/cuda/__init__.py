"""Device memory, copies, one stream and graphs: `open_device` finds who can give them here."""

from __future__ import annotations

import os

from edgekit.errors import SessionError, TargetError
from edgekit.runtime.cuda.bindings_device import BindingsDevice
from edgekit.runtime.cuda.device import Device, reported, wait
from edgekit.runtime.cuda.pycuda_device import PyCudaDevice

__all__ = ["Device", "open_device", "reported", "wait"]

_APIS: dict[str, type[PyCudaDevice] | type[BindingsDevice]] = {"pycuda": PyCudaDevice, "cuda-bindings": BindingsDevice}


def open_device(ordinal: int = 0) -> tuple[Device, str]:
    """A CUDA device for this thread, and in one phrase through what and why.

    pycuda where it is installed, else cuda-bindings; the environment variable EDGEKIT_CUDA asks for one of the two.
    Raises TargetError where neither works, with what each said.
    """
    asked = os.environ.get("EDGEKIT_CUDA", "")
    if asked and asked not in _APIS:
        raise SessionError(f"expected EDGEKIT_CUDA to be {' or '.join(_APIS)}, found {asked!r}")
    refused: list[str] = []
    for name in (asked,) if asked else _APIS:
        try:
            device: Device = _APIS[name](ordinal)
        except ImportError as error:
            refused.append(f"{name}: {error}")
            continue
        why = ", asked for by EDGEKIT_CUDA" if asked else f", since {refused[0]}" if refused else ""
        return device, f"{device.api}{why}"
    raise TargetError(
        f"expected pycuda or cuda-bindings and an NVIDIA driver to run an engine, found {'; '.join(refused)}",
        "pip install pycuda on a machine with a GPU, or --backend ort",
    )
