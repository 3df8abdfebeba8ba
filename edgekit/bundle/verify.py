"""Every byte of a bundle is checked before one of them reaches a deserialiser.

NVIDIA calls a serialized engine an executable artefact: loading an untrusted one equals running untrusted code.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from edgekit.bundle.contents import check_content, read_spec
from edgekit.bundle.keys import Trust
from edgekit.bundle.link import following
from edgekit.bundle.manifest import MANIFEST, FileEntry, Manifest, manifest_bytes
from edgekit.bundle.signature import SIGNATURES, Signer, check_signatures, read_signatures, signed_by
from edgekit.bundle.window import Window
from edgekit.errors import IntegrityError

_BLOCK = 1 << 20


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle whose files all match; `contents` are the very bytes that were hashed, so no one can swap them after.

    `signers` vouch for it, as far as the Trust that was asked for says; none where it is not signed.
    """

    path: Path
    manifest: Manifest
    contents: dict[str, bytes]
    signers: tuple[Signer, ...] = ()

    @property
    def signed(self) -> str:
        """The signers in one line."""
        return signed_by(self.signers)

    def table(self, kind: Any, name: str) -> Any:
        """The spec that a kept JSON file holds, None without a name; IntegrityError when it is no such spec."""
        return read_spec(kind, self.contents[name], name) if name else None


def read_signed(bundle: Path, trust: Trust) -> tuple[Manifest, tuple[Signer, ...]]:
    """The manifest and who signed it. Its bytes are read once, and parsed only after every signature of them verified.

    Raises IntegrityError for a malformed file, a signature that does not verify, and where `trust` asks for another.
    """
    data = manifest_bytes(bundle)
    signers = check_signatures(read_signatures(bundle), data, trust)
    return Manifest.parse(data), signers


def verify(bundle: Path, keep: Collection[str] = (), trust: Trust = Trust()) -> VerifiedBundle:
    """Check the signatures, the file set, the sizes and the digests of a bundle, and what a deserialiser would get.

    Every file is read once. `keep` names those whose bytes are wanted afterwards. A signature that does not verify is
    refused whatever `trust` asks for. A link is followed once. Raises IntegrityError for the first thing that is off.
    """
    return following(bundle, lambda folder: _verified(folder, keep, trust))


def check_file_set(bundle: Path, manifest: Manifest) -> None:
    """Raise IntegrityError unless the folder holds the files of its manifest, plain ones, and no others."""
    present = _files(bundle)
    for name in sorted(present - {MANIFEST, SIGNATURES} - set(manifest.files)):
        raise IntegrityError(f"expected only the files of {MANIFEST} in {bundle}, found {name} too")
    for name in sorted(set(manifest.files) - present):
        raise IntegrityError(f"expected {name} in {bundle}, found none")


def _verified(bundle: Path, keep: Collection[str], trust: Trust) -> VerifiedBundle:
    manifest, signers = read_signed(bundle, trust)
    for name in filter(None, keep):
        if name not in manifest.files:
            raise IntegrityError(f"expected {name} in {bundle}, found another manifest than a moment ago")
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


def _whole(path: Path, file: BinaryIO, entry: FileEntry) -> bytes:
    """All bytes of a file, read at once: two copies of a model are what a small device has no memory for."""
    _check_size(path, os.fstat(file.fileno()).st_size, entry)
    data = file.read(entry.size)
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


def _files(bundle: Path) -> set[str]:
    """The regular files below `bundle`; links, devices and pipes are refused before anything is read."""
    names = set()
    for path in bundle.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise IntegrityError(f"expected plain files in {bundle}, found a link or a device: {path.name}")
        if path.is_file():
            names.add(path.relative_to(bundle).as_posix())
    return names
