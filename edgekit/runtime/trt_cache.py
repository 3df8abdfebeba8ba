"""What TensorRT-RTX compiled on this machine, kept for the next start in the user's own cache folder.

The bytes are kernels that will run, so they are code: only what this user alone can write is read. That a cache cannot
be read or written is never an error, only slower.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path


class CacheFile:
    """The cache of one engine under one TensorRT on one kind of device; `folder` None is the user's own."""

    def __init__(self, folder: Path | None, engine: bytes, version: str, device: str) -> None:
        key = "\n".join((hashlib.sha256(engine).hexdigest(), version, device))
        self._folder = folder
        self._name = f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.rtxcache"
        self._read = b""
        self.note = "none yet"

    def read(self) -> bytes:
        """The bytes that were kept, empty where there are none that can be trusted; `note` says which."""
        try:
            path = self._path()
            _owned(path.parent.lstat(), path.parent)
            with open(path, "rb", opener=_no_link) as file:
                _owned(os.fstat(file.fileno()), path)
                self._read = file.read()
                self.note = f"read {path}"
        except FileNotFoundError:
            pass
        except (OSError, RuntimeError) as error:
            self.note = f"not read: {error}"
        return self._read

    def write(self, content: bytes) -> None:
        """Keep bytes for the next start, unless they are those that were read: aside first, then renamed."""
        if not content or content == self._read:
            return
        try:
            path = self._path()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _owned(path.parent.lstat(), path.parent)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:  # 0600
                aside = Path(file.name)
                try:
                    file.write(content)
                    file.flush()
                    aside.replace(path)
                finally:
                    aside.unlink(missing_ok=True)
            self._read = content
            self.note = f"written to {path}"
        except (OSError, RuntimeError) as error:
            self.note = f"not written: {error}"

    def _path(self) -> Path:
        folder = self._folder
        if folder is None:
            given = os.environ.get("XDG_CACHE_HOME", "")
            folder = (Path(given) if given.startswith("/") else Path.home() / ".cache") / "edgekit"
        return folder / self._name


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _owned(found: os.stat_result, path: Path) -> None:
    """Raise PermissionError unless this user owns a file or folder and nobody else may write it."""
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"expected {path} to be writable by this user alone")
