"""A bundle copied in one pass: the bytes that are written are the bytes that were hashed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

from edgekit.bundle import MANIFEST, SIGNATURES, Trust, unpack
from edgekit.bundle.signature import dump_signatures, read_signatures
from edgekit.errors import IntegrityError, OutputError
from edgekit.files import sync
from edgekit.install.root import writing
from edgekit.install.source import Source, reading
from edgekit.reports import Progress

_BLOCK = 1 << 20
# For signatures, folders and links, and for what a file system keeps for itself.
_MARGIN = 1 << 20


def check_space(source: Source, root: Path, previous: Path) -> None:
    """Raise OutputError unless the file system of `root` has room for the bundle and 1 MiB more.

    What root alone may use is not counted. The version at `previous` is what could go for it.
    """
    with writing(root):
        free, block = shutil.disk_usage(root).free, os.statvfs(root).f_frsize or 1
    sizes = [len(source.manifest.dump()), *(entry.size for entry in source.manifest.files.values())]
    needed = sum(-(-size // block) * block for size in sizes) + _MARGIN
    if free < needed:
        raise OutputError(
            f"expected {needed} bytes free at {root} for the bundle, found {free}",
            f"rm {previous}, after which no rollback is possible, or free other space"
            if previous.is_symlink()
            else "free some space, or another ROOT",
        )


def copy(source: Source, out: Path, trust: Trust, progress: Progress) -> None:
    """Write the bundle to `out`, which is not there yet, and wait until it is on the disk.

    Raises IntegrityError for a file that is not what the manifest says, EdgekitError where the bundle cannot be read,
    OutputError where `out` cannot be written; what was written until then stays.
    """
    if source.is_archive:
        progress("unpacking", 0, 0)
        _unpack(source, out, trust)
    else:
        _copy_folder(source, out, progress)
    with writing(out):
        for path in (out, *out.rglob("*")):
            sync(path)


def _unpack(source: Source, out: Path, trust: Trust) -> None:
    with writing(out):
        out.parent.mkdir(exist_ok=True)
    try:
        found = unpack(source.path, out, trust)
    except OSError as error:  # of the archive or of the folder: it does not tell
        raise OutputError(f"expected to be able to unpack {source.path} to {out}, found: {error.strerror}") from error
    if (found.manifest, found.signers) != (source.manifest, source.signers):
        raise IntegrityError(f"expected {source.path} as it was a moment ago, found another", "the same again")


def _copy_folder(source: Source, out: Path, progress: Progress) -> None:
    files, done = source.manifest.files, 0
    total = sum(entry.size for entry in files.values())

    def copied(count: int) -> None:
        nonlocal done
        done += count
        progress("copying, MiB", done >> 20, total >> 20)

    with writing(out):
        for name in (MANIFEST, *files):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
    for name in sorted(files):
        _copy_file(source, name, out / name, copied)
    with reading(source.path):
        signatures = read_signatures(source.path)
    made = {MANIFEST: source.manifest.dump(), **({SIGNATURES: dump_signatures(signatures)} if signatures else {})}
    for name, data in made.items():
        with _new(out / name) as write:
            write(data)


def _copy_file(source: Source, name: str, out: Path, copied: Callable[[int], None]) -> None:
    entry, digest, size = source.manifest.files[name], hashlib.sha256(), 0
    with reading(source.path / name), source.open(name) as file, _new(out) as write:
        while size <= entry.size and (block := file.read(_BLOCK)):
            write(block)
            digest.update(block)
            size += len(block)
            copied(len(block))
    if size != entry.size or digest.hexdigest() != entry.sha256:
        raise IntegrityError(
            f"expected {entry.size} bytes of SHA-256 {entry.sha256[:12]}… in {source.path / name}, found others",
            "get the bundle again",
        )


@contextlib.contextmanager
def _new(out: Path) -> Iterator[Callable[[bytes], None]]:
    """Yield what writes on to a new file."""
    with writing(out):
        file = out.open("xb", buffering=0)
    with file:
        yield lambda data: _write(file, out, data)


def _write(file: FileIO, out: Path, data: bytes) -> None:
    left = memoryview(data)
    with writing(out):
        while left:
            left = left[file.write(left) or 0 :]
