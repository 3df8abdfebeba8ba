"""Reads an .ekb, front to back and once, without believing anything that it says of itself.

All of it but the files' contents is compared with what `archive` would have written, and their contents with the
manifest: whatever else a zip can be made to hold, hide or claim is a difference. Its own directory is never read by.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, TypeAlias

from edgekit.bundle.contents import check_content
from edgekit.bundle.keys import Trust
from edgekit.bundle.manifest import LARGEST_MANIFEST, MANIFEST, FileEntry, Manifest
from edgekit.bundle.signature import SIGNATURES, Signer, check_signatures, parse_signatures
from edgekit.bundle.verify import VerifiedBundle
from edgekit.bundle.window import Window
from edgekit.bundle.zip_layout import LARGEST, Member, directory, header_size, next_start, size_of, told_size
from edgekit.errors import IntegrityError
from edgekit.files import folder_written_aside

_BLOCK = 1 << 20
_NEXT = "get the archive again"

# For a file's name, a context with the function that takes its blocks.
Sink: TypeAlias = "Callable[[str], AbstractContextManager[Callable[[bytes], object]]]"


def verify_archive(path: Path, trust: Trust = Trust()) -> VerifiedBundle:
    """What `verify` does with a folder, with an archive; at most a block of it is in memory.

    Raises IntegrityError for the first thing that is off.
    """
    with _opened(path) as file:
        manifest, signers = _Reader(file, path).read(trust, lambda name: contextlib.nullcontext(len))
    return VerifiedBundle(path, manifest, {}, signers)


def unpack(path: Path, out: Path, trust: Trust = Trust()) -> VerifiedBundle:
    """Verify an archive and write its bundle to the folder `out`, whole or not at all.

    A bundle that is there is replaced; a folder that holds anything else stays as it is. Raises IntegrityError for the
    first thing that is off, OutputError where `out` cannot be written.
    """
    with _opened(path) as file, folder_written_aside(out, MANIFEST) as folder:
        manifest, signers = _Reader(file, path).read(trust, lambda name: _written(folder / name))
    return VerifiedBundle(out, manifest, {}, signers)


class _Reader:
    """Takes one file of an archive after another; `read` is called once."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._members: list[Member] = []

    def read(self, trust: Trust, sink: Sink) -> tuple[Manifest, tuple[Signer, ...]]:
        """Check everything and give all files to `sink`; who signed it. Raises IntegrityError."""
        data = self._small(MANIFEST)
        if data is None:
            raise IntegrityError(f"expected an archive of a bundle in {self._path}, found none", "edgekit bundle pack")
        signatures = self._small(SIGNATURES)
        signers = check_signatures(() if signatures is None else parse_signatures(signatures), data, trust)
        manifest = Manifest.parse(data)
        self._check_size(manifest)
        first = {MANIFEST: data, **({} if signatures is None else {SIGNATURES: signatures})}
        for name, content in first.items():
            with sink(name) as write:
                write(content)
        for name, entry in sorted(manifest.files.items()):
            with sink(name) as write:
                start = self._through(name, entry, write)
            check_content(name, Window.of(self._file.fileno(), start, entry.size), manifest)
        rest = directory(self._members)
        if self._file.read(len(rest)) != rest:
            raise self._other(next_start(self._members))
        return manifest, signers

    def _check_size(self, manifest: Manifest) -> None:
        """Before anything is copied: the whole is as large as its parts, so that nothing is behind them."""
        sizes = {member.name: member.size for member in self._members}
        wanted = size_of(sizes | {name: entry.size for name, entry in manifest.files.items()})
        found = os.fstat(self._file.fileno()).st_size
        if wanted > LARGEST:
            raise IntegrityError(f"expected an archive below 4 GiB in {self._path}, found {wanted:,} bytes", _NEXT)
        if found != wanted:
            raise IntegrityError(f"expected {wanted} bytes in {self._path}, found {found}", _NEXT)

    def _small(self, name: str) -> bytes | None:
        """A file whose size nothing tells but its header; None where another comes next."""
        start = next_start(self._members)
        header = self._file.read(header_size(name))
        size = told_size(header, name)
        if size is None:
            self._file.seek(start)
            return None
        if size > LARGEST_MANIFEST:
            raise IntegrityError(f"expected {name} of {self._path} below {LARGEST_MANIFEST} bytes, found {size}", _NEXT)
        data = self._file.read(size)
        self._add(Member(name, len(data), zlib.crc32(data), start), header)
        return data

    def _through(self, name: str, entry: FileEntry, write: Callable[[bytes], object]) -> int:
        """Check a file while it is copied; where its contents begin."""
        start = next_start(self._members)
        header = self._file.read(header_size(name))
        digest, crc, left = hashlib.sha256(), 0, entry.size
        while left and (block := self._file.read(min(left, _BLOCK))):
            digest.update(block)
            crc = zlib.crc32(block, crc)
            write(block)
            left -= len(block)
        if digest.hexdigest() != entry.sha256:
            raise IntegrityError(
                f"expected SHA-256 {entry.sha256[:12]}… of {name} in {self._path}, "
                f"found {digest.hexdigest()[:12]}…: it was changed",
                _NEXT,
            )
        self._add(Member(name, entry.size, crc, start), header)
        return start + len(header)

    def _add(self, member: Member, header: bytes) -> None:
        if header != member.header():
            raise self._other(member.start)
        self._members.append(member)

    def _other(self, position: int) -> IntegrityError:
        return IntegrityError(
            f"expected {self._path} as edgekit archives a bundle, found other bytes behind {position}", _NEXT
        )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if not path.is_file():
        raise IntegrityError(f"expected an archive of a bundle at {path}, found no file", "edgekit bundle pack")
    with path.open("rb") as file:
        yield file


@contextlib.contextmanager
def _written(path: Path) -> Iterator[Callable[[bytes], object]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        yield file.write
