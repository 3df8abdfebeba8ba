"""Verified bytes as a file, for who reads by a path: what is done to the bundle meanwhile does not reach it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

_OPEN_FILES = Path("/proc/self/fd")


class Kept:
    """A copy of a bundle's ONNX, on the disk of temporary files; it goes with the last who holds this.

    The copy has no name, so that nobody can put another in its place and no kill leaves it behind: `onnx` is its path
    in this process, and in one that has inherited the open files `inherited`. Where the system does not tell open files
    as paths it lies in a folder of this user alone.
    """

    def __init__(self, data: bytes) -> None:
        self.inherited: tuple[int, ...] = ()
        if _OPEN_FILES.is_dir():
            file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed with this)
            weakref.finalize(self, file.close)
            with open(file.fileno(), "wb", closefd=False) as writer:  # says that the disk is full here, not later
                writer.write(data)
            self.inherited = (file.fileno(),)
            self.onnx = _OPEN_FILES / str(file.fileno())
        else:
            folder = Path(tempfile.mkdtemp(prefix="edgekit-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self.onnx = folder / "model.onnx"
            self.onnx.write_bytes(data)
