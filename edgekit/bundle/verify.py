"""Every byte of a bundle is checked before one of them reaches a deserialiser.

NVIDIA calls a serialized engine an executable artefact: loading an untrusted one equals running untrusted code.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

from edgekit.bundle.contents import check_content
from edgekit.bundle.entries import FileEntry
from edgekit.bundle.keys import Trust
from edgekit.bundle.link import following
from edgekit.bundle.manifest import MANIFEST, Manifest, manifest_bytes
from edgekit.bundle.signature import SIGNATURES, Signer, check_signatures, read_signatures
from edgekit.bundle.unarchive import signed_archive, verify_archive
from edgekit.bundle.verified import VerifiedBundle, check_kept
from edgekit.bundle.window import Window
from edgekit.errors import EdgekitError, IntegrityError

_BLOCK = 1 << 20


def read_manifest(bundle: Path) -> Manifest:
    """The manifest of a bundle, a folder or an archive; IntegrityError when there is none or it is malformed.

    Of a signed one it is parsed only after its signatures verified.
    """
    return read_signed(bundle, Trust())[0]


def read_signed(bundle: Path, trust: Trust) -> tuple[Manifest, tuple[Signer, ...]]:
    """The manifest and who signed it. Its bytes are read once, and parsed only after every signature of them verified.

    Raises IntegrityError for a malformed file, a signature that does not verify, and where `trust` asks for another.
    """
    if bundle.is_file():
        return signed_archive(bundle, trust)
    data = manifest_bytes(bundle)
    signers = check_signatures(read_signatures(bundle), data, trust)
    return Manifest.parse(data), signers


def verify(bundle: Path, keep: Collection[str] = (), trust: Trust = Trust()) -> VerifiedBundle:
    """Check the signatures, the file set, the sizes and the digests of a bundle, and what a deserialiser would get.

    It is a folder or an archive, and every file of it is read once. `keep` names those whose bytes are wanted
    afterwards. A signature that does not verify is refused whatever `trust` asks for. A link is followed once. Raises
    IntegrityError for the first thing that is off.
    """
    return following(bundle, lambda found: (verify_archive if found.is_file() else verify_folder)(found, trust, keep))


def verify_folder(bundle: Path, trust: Trust = Trust(), keep: Collection[str] = ()) -> VerifiedBundle:
    """What `verify` does with a folder, which is what `bundle` is, no link to it; EdgekitError for an archive."""
    if bundle.is_file():
        raise EdgekitError(f"expected a bundle folder, found the file {bundle}", "edgekit bundle unpack IN.ekb DIR")
    manifest, signers = read_signed(bundle, trust)
    check_kept(bundle, manifest, keep)
    check_file_set(bundle, manifest)
    contents = {}
    for name, entry in sorted(manifest.files.items()):
        with (bundle / name).open("rb") as file:
            if name in keep:
                contents[name] = _whole(bundle / name, file, entry)
                check_content(name, Window.over(contents[name]), manifest)
            else:
                _read_through(bundle / name, file, entry)
                check_content(name, Window.of(file.fileno(), 0, entry.size), manifest)
    return VerifiedBundle(bundle, manifest, contents, signers)


def check_file_set(bundle: Path, manifest: Manifest) -> None:
    """Raise IntegrityError unless the folder holds the files of its manifest, plain ones, and no others."""
    present = _files(bundle, manifest)
    for name in sorted(present - {MANIFEST, SIGNATURES} - set(manifest.files)):
        raise IntegrityError(f"expected only the files of {MANIFEST} in {bundle}, found {name} too")
    for name in sorted(set(manifest.files) - present):
        raise IntegrityError(f"expected {name} in {bundle}, found none")


def _whole(path: Path, file: BinaryIO, entry: FileEntry) -> bytes:
    """All bytes of a file, read at once: two copies of a model are what a small device has no memory for."""
    _check_size(path, os.fstat(file.fileno()).st_size, entry)
    try:
        data = file.read(entry.size)
    except MemoryError as error:
        raise EdgekitError(f"expected memory for {entry.size:,} bytes of {path}, found too little") from error
    _check_size(path, len(data), entry)
    _check_digest(path, hashlib.sha256(data), entry)
    return data


def _read_through(path: Path, file: BinaryIO, entry: FileEntry) -> None:
    _check_size(path, os.fstat(file.fileno()).st_size, entry)
    digest, left = hashlib.sha256(), entry.size
    while left and (block := file.read(min(left, _BLOCK))):
        digest.update(block)
        left -= len(block)
    _check_digest(path, digest, entry)


def _check_size(path: Path, size: int, entry: FileEntry) -> None:
    if size != entry.size:
        raise IntegrityError(f"expected {entry.size} bytes in {path}, found {size}", "get the bundle again")


def _check_digest(path: Path, digest: Any, entry: FileEntry) -> None:
    if digest.hexdigest() != entry.sha256:
        raise IntegrityError(
            f"expected SHA-256 {entry.sha256[:12]}… of {path}, found {digest.hexdigest()[:12]}…: it was changed",
            "get the bundle again",
        )


def _files(bundle: Path, manifest: Manifest) -> set[str]:
    """The regular files below `bundle`; links, devices and pipes are refused before anything is read.

    So are folders that no file of the manifest is in: they nest as deep as a disk lets them.
    """
    known = {"/".join(parts[:depth]) for parts in map(_parts, manifest.files) for depth in range(1, len(parts))}
    names, folders = set(), [""]
    while folders:
        place = folders.pop()
        with os.scandir(bundle / place) as entries:
            for entry in entries:
                name = f"{place}/{entry.name}" if place else entry.name
                if entry.is_file(follow_symlinks=False):
                    names.add(name)
                elif not entry.is_dir(follow_symlinks=False):
                    raise IntegrityError(f"expected plain files in {bundle}, found a link or a device: {entry.name}")
                elif name in known:
                    folders.append(name)
                else:
                    raise IntegrityError(f"expected only the files of {MANIFEST} in {bundle}, found {name}/ too")
    return names


def _parts(name: str) -> list[str]:
    return name.split("/")
