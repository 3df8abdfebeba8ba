"""Every byte of a bundle is checked before one of them reaches a deserialiser.

NVIDIA calls a serialized engine an executable artefact: loading an untrusted one equals running untrusted code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.bundle.keys import Trust
from edgekit.bundle.manifest import MANIFEST, FileEntry, Manifest, manifest_bytes
from edgekit.bundle.signature import SIGNATURES, Signer, check_signatures, read_signatures, signed_by
from edgekit.errors import EdgekitError, IntegrityError
from edgekit.specs import from_table

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
        if not name:
            return None
        try:
            return from_table(kind, json.loads(self.contents[name]), name)
        except (ValueError, RecursionError, EdgekitError) as error:
            raise IntegrityError(f"expected a spec as JSON in {name}, found: {error}") from error


def read_signed(bundle: Path, trust: Trust) -> tuple[Manifest, tuple[Signer, ...]]:
    """The manifest and who signed it. Its bytes are read once, and parsed only after every signature of them verified.

    Raises IntegrityError for a malformed file, a signature that does not verify, and where `trust` asks for another.
    """
    data = manifest_bytes(bundle)
    signers = check_signatures(read_signatures(bundle), data, trust)
    return Manifest.parse(data), signers


def verify(bundle: Path, keep: Collection[str] = (), trust: Trust = Trust()) -> VerifiedBundle:
    """Check the signatures, the file set, the sizes and the digests of a bundle, reading every file once.

    `keep` names the files whose bytes are wanted afterwards. A signature that does not verify is refused whatever
    `trust` asks for. Raises IntegrityError for the first thing that is off.
    """
    manifest, signers = read_signed(bundle, trust)
    for name in filter(None, keep):
        if name not in manifest.files:
            raise IntegrityError(f"expected {name} in {bundle}, found another manifest than a moment ago")
    present = _files(bundle)
    for name in sorted(present - {MANIFEST, SIGNATURES} - set(manifest.files)):
        raise IntegrityError(f"expected only the files of {MANIFEST} in {bundle}, found {name} too")
    for name in sorted(set(manifest.files) - present):
        raise IntegrityError(f"expected {name} in {bundle}, found none")
    contents = {}
    for name, entry in sorted(manifest.files.items()):
        data = _read_checked(bundle, name, entry, keep=name in keep)
        if name in keep:
            contents[name] = data
    return VerifiedBundle(bundle, manifest, contents, signers)


def _read_checked(bundle: Path, name: str, entry: FileEntry, *, keep: bool) -> bytes:
    path = bundle / name
    size = path.stat().st_size
    if size != entry.size:
        raise IntegrityError(f"expected {entry.size} bytes in {path}, found {size}", "get the bundle again")
    digest, blocks = hashlib.sha256(), []
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            if keep:
                blocks.append(block)
    if digest.hexdigest() != entry.sha256:
        raise IntegrityError(
            f"expected SHA-256 {entry.sha256[:12]}… of {path}, found {digest.hexdigest()[:12]}…: it was changed",
            "get the bundle again",
        )
    return b"".join(blocks)


def _files(bundle: Path) -> set[str]:
    """The regular files below `bundle`; links, devices and pipes are refused before anything is read."""
    names = set()
    for path in bundle.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise IntegrityError(f"expected plain files in {bundle}, found a link or a device: {path.name}")
        if path.is_file():
            names.add(path.relative_to(bundle).as_posix())
    return names
