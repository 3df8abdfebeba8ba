"""NVRTC 12.6, the run-time compiler of JetPack 6, through ctypes: a kernel file to a cubin, with no header of CUDA."""

from __future__ import annotations

import ctypes
from pathlib import Path

from edgekit.plugins.toolkits import of_wheel


def find_nvrtc() -> Path | None:
    return of_wheel("nvidia-cuda-nvrtc-cu12", "lib/libnvrtc.so.12")


class NvrtcError(Exception):
    """What the compiler said."""


class Nvrtc:
    """The functions of nvrtc.h that a test needs (https://docs.nvidia.com/cuda/nvrtc)."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    def version(self) -> str:
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return f"{major.value}.{minor.value}"

    def cubin(self, source: Path, arch: int, *folders: Path) -> bytes:
        """Compile `source` for sm_<arch>; includes are looked up in `folders` and nowhere else."""
        program = ctypes.c_void_p()
        text, name = source.read_bytes(), source.name.encode()
        self._library.nvrtcCreateProgram(ctypes.byref(program), text, name, 0, None, None)
        options = [f"--gpu-architecture=sm_{arch}", "--std=c++17", *(f"--include-path={folder}" for folder in folders)]
        encoded = [option.encode() for option in options]
        status = self._library.nvrtcCompileProgram(program, len(encoded), (ctypes.c_char_p * len(encoded))(*encoded))
        if status:
            raise NvrtcError(self._bytes("ProgramLog", program).decode(errors="replace"))
        return self._bytes("CUBIN", program)

    def _bytes(self, what: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        getattr(self._library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(self._library, f"nvrtcGet{what}")(program, buffer)
        return buffer.raw
