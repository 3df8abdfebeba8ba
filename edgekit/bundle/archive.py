"""A bundle as one file, .ekb: made of a bundle that verifies, and the same bytes on any machine."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from typing import BinaryIO

from edgekit.bundle.entries import FileEntry
from edgekit.bundle.keys import Trust
from edgekit.bundle.link import following
from edgekit.bundle.manifest import MANIFEST
from edgekit.bundle.signature import SIGNATURES, check_signatures, dump_signatures, read_signatures
from edgekit.bundle.verified import VerifiedBundle
from edgekit.bundle.verify import verify_folder
from edgekit.bundle.zip_layout import LARGEST, MAGIC, Member, directory, next_start, size_of
from edgekit.errors import IntegrityError, OutputError
from edgekit.files import written_aside

_BLOCK = 1 << 20


def archive(bundle: Path, out: Path) -> VerifiedBundle:
    """Verify a bundle and write it to the file `out`, whole or not at all: see `edgekit.bundle.zip_layout`.

    The manifest comes first, then signatures where there are any, then the files by name. Raises IntegrityError for a
    bundle that does not verify, OutputError for one of 4 GiB and more, which stays a folder, and for an `out` in it.
    """
    if bundle.resolve() in out.resolve().parents:
        raise OutputError(f"expected an archive outside {bundle}, found {out}: a bundle has only its own files")
    if out.is_file() and not _is_zip(out):
        raise OutputError(f"expected an archive to replace at {out}, found another file", "another OUT.ekb")
    with written_aside(out) as partial:
        return following(bundle, lambda folder: _write(folder, partial))


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _write(bundle: Path, out: Path) -> VerifiedBundle:
    verified = verify_folder(bundle)
    manifest = verified.manifest.dump()  # its one form, hence the file's bytes
    first = {MANIFEST: manifest}
    if signatures := read_signatures(bundle):
        check_signatures(signatures, manifest, Trust())
        first[SIGNATURES] = dump_signatures(signatures)
    files = dict(sorted(verified.manifest.files.items()))
    sizes = {name: len(data) for name, data in first.items()} | {name: entry.size for name, entry in files.items()}
    if size_of(sizes) > LARGEST:
        raise OutputError(
            f"expected a bundle below 4 GiB to archive, found {size_of(sizes):,} bytes", "copy its folder"
        )
    members: list[Member] = []
    with out.open("wb") as file:
        for name, data in first.items():
            members.append(Member(name, len(data), zlib.crc32(data), next_start(members)))
            file.write(members[-1].header() + data)
        for name, entry in files.items():
            members.append(_append(file, bundle / name, Member(name, entry.size, 0, next_start(members)), entry))
        file.write(directory(members))
    return verified


def _append(file: BinaryIO, source: Path, blank: Member, entry: FileEntry) -> Member:
    """Copy one file; its header is written again when its CRC is known."""
    file.write(blank.header())
    digest, crc = hashlib.sha256(), 0
    with source.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            crc = zlib.crc32(block, crc)
            file.write(block)
    if digest.hexdigest() != entry.sha256:
        raise IntegrityError(f"expected {source} as it was a moment ago, found another", "the same again")
    member = Member(blank.name, blank.size, crc, blank.start)
    file.seek(member.start)
    file.write(member.header())
    file.seek(0, 2)
    return member
