"""Reads an .ekb, front to back and once, without believing anything that it says of itself.

All of it but the files' contents is compared with what `archive` would have written, and their contents with the
manifest: whatever else a zip can be made to hold, hide or claim is a difference. Its own directory is never read by.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeAlias

from edgekit.bundle.contents import check_content
from edgekit.bundle.entries import FileEntry
from edgekit.bundle.keys import Trust
from edgekit.bundle.manifest import LARGEST_MANIFEST, MANIFEST, Manifest
from edgekit.bundle.replacing import foreign
from edgekit.bundle.signature import SIGNATURES, Signer, check_signatures, parse_signatures
from edgekit.bundle.verified import VerifiedBundle, check_kept
from edgekit.bundle.window import Window
from edgekit.bundle.zip_layout import LARGEST, MAGIC, Member, directory, header_size, next_start, size_of, told_size
from edgekit.errors import IntegrityError
from edgekit.files import folder_written_aside

SUFFIX = ".ekb"
_BLOCK = 1 << 20
_NEXT = "get the archive again"

# For a file's name, a context with the function that takes its blocks.
Sink: TypeAlias = "Callable[[str], AbstractContextManager[Callable[[bytes], object]]]"


def is_archive(path: Path) -> bool:
    """Whether a file begins as an archive does, with a manifest, or is called .ekb: what is amiss is then told as such.

    An .npz is a zip, too.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(header_size(MANIFEST))
    return path.suffix == SUFFIX or (head.startswith(MAGIC) and told_size(head, MANIFEST) is not None)


def signed_archive(path: Path, trust: Trust = Trust()) -> tuple[Manifest, tuple[Signer, ...]]:
    """What `read_signed` does with a folder, with an archive; what is behind its manifest is not read.

    Raises IntegrityError for what is off until there, and for a file of another size.
    """
    with _opened(path) as file:
        return _Reader(file, path).begin(trust)


def verify_archive(path: Path, trust: Trust = Trust(), keep: Collection[str] = ()) -> VerifiedBundle:
    """What `verify` does with a folder, with an archive; in memory are the files to `keep`, and a block of another.

    Raises IntegrityError for the first thing that is off.
    """
    contents: dict[str, bytes] = {}

    def sink(name: str) -> AbstractContextManager[Callable[[bytes], object]]:
        return contextlib.nullcontext(partial(contents.__setitem__, name) if name in keep else len)

    with _opened(path) as file:
        reader = _Reader(file, path)
        manifest, signers = reader.read(trust, sink, keep)
    return VerifiedBundle(path, manifest, contents, signers, reader.starts)


def unpack(path: Path, out: Path, trust: Trust = Trust()) -> VerifiedBundle:
    """Verify an archive and write its bundle to the folder `out`, whole or not at all.

    A bundle that is there is replaced; a folder that holds anything else stays as it is. Raises IntegrityError for the
    first thing that is off, OutputError where `out` cannot be written.
    """
    with _opened(path) as file, folder_written_aside(out, MANIFEST, foreign) as folder:
        manifest, signers = _Reader(file, path).read(trust, lambda name: _written(folder / name))
    return VerifiedBundle(out, manifest, {}, signers)


class _Reader:
    """Takes one file of an archive after another; `begin` or `read` is called once.

    `starts` says at which byte the contents of each file begin that was read.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._members: list[Member] = []
        self._first: dict[str, bytes] = {}
        self.starts: dict[str, int] = {}

    def begin(self, trust: Trust) -> tuple[Manifest, tuple[Signer, ...]]:
        """Check the manifest, who signed it, and that the file has the size that follows. Raises IntegrityError."""
        data = self._small(MANIFEST)
        if data is None:
            raise IntegrityError(f"expected an archive of a bundle in {self._path}, found none", "edgekit bundle pack")
        signatures = self._small(SIGNATURES)
        signers = check_signatures(() if signatures is None else parse_signatures(signatures), data, trust)
        manifest = Manifest.parse(data)
        self._check_size(manifest)
        self._first = {MANIFEST: data, **({} if signatures is None else {SIGNATURES: signatures})}
        return manifest, signers

    def read(self, trust: Trust, sink: Sink, keep: Collection[str] = ()) -> tuple[Manifest, tuple[Signer, ...]]:
        """Check everything and give all files to `sink`, those to `keep` in one piece; who signed it.

        Raises IntegrityError.
        """
        manifest, signers = self.begin(trust)
        check_kept(self._path, manifest, keep)
        for name, content in self._first.items():
            with sink(name) as write:
                write(content)
        for name, entry in sorted(manifest.files.items()):
            with sink(name) as write:
                whole = self._through(name, entry, write, name in keep)
            window = Window.of(self._file.fileno(), self.starts[name], entry.size)
            check_content(name, window if whole is None else Window.over(whole), manifest)
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

    def _through(self, name: str, entry: FileEntry, write: Callable[[bytes], object], kept: bool) -> bytes | None:
        """Check a file while it is copied; the bytes of one that is kept, of which there is no second copy."""
        start = next_start(self._members)
        header = self._file.read(header_size(name))
        self.starts[name] = start + len(header)
        digest, crc, block = hashlib.sha256(), 0, b""
        for block in self._blocks(entry.size, kept):
            digest.update(block)
            crc = zlib.crc32(block, crc)
            write(block)
        if digest.hexdigest() != entry.sha256:
            raise IntegrityError(
                f"expected SHA-256 {entry.sha256[:12]}… of {name} in {self._path}, "
                f"found {digest.hexdigest()[:12]}…: it was changed",
                _NEXT,
            )
        self._add(Member(name, entry.size, crc, start), header)
        return block if kept else None

    def _blocks(self, size: int, at_once: bool) -> Iterator[bytes]:
        """So many bytes, or as many as there are: one block of them, which may be empty, or several."""
        if at_once:
            yield self._file.read(size)
            return
        while size and (block := self._file.read(min(size, _BLOCK))):
            yield block
            size -= len(block)

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
