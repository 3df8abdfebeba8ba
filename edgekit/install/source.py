"""The bundle that is to be installed, a folder or an .ekb: what it says of itself, before a byte of it is copied."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgekit.bundle import Manifest, Signer, Trust, read_signed, verify, verify_archive
from edgekit.bundle.link import following
from edgekit.bundle.verify import check_file_set
from edgekit.errors import EdgekitError


@dataclass(frozen=True)
class Source:
    """A bundle at `path` with its manifest and who signed that."""

    path: Path
    manifest: Manifest
    signers: tuple[Signer, ...]
    is_archive: bool

    @property
    def digest(self) -> str:
        """What this version is called: 16 hexadecimal digits of the SHA-256 of manifest and signers' keys."""
        return digest_of(self.manifest.dump(), self.signers)

    def check(self, trust: Trust) -> None:
        """Read all bytes of a folder, which copying would check; IntegrityError for others than its manifest says."""
        if not self.is_archive:
            with reading(self.path):
                verify(self.path, trust=trust)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A file of a folder's manifest, to be read once from its beginning."""
        with (self.path / name).open("rb") as file:
            yield file


def digest_of(manifest: bytes, signers: Iterable[Signer]) -> str:
    """What a version of this manifest and of these signers is called; the bytes are those of its file."""
    keys = "".join(sorted(signer.key for signer in signers))
    return hashlib.sha256(manifest + keys.encode()).hexdigest()[:16]


def read_source(bundle: Path, trust: Trust) -> Source:
    """Check an archive wholly; a folder but for its files' bytes, which are checked while they are copied.

    Raises IntegrityError as `edgekit.bundle.verify` does, EdgekitError where there is no bundle.
    """
    with reading(bundle):
        if bundle.is_file():
            verified = verify_archive(bundle, trust)
            return Source(bundle, verified.manifest, verified.signers, is_archive=True)
        return following(bundle, lambda folder: _read_folder(folder, trust))


def _read_folder(folder: Path, trust: Trust) -> Source:
    manifest, signers = read_signed(folder, trust)
    check_file_set(folder, manifest)
    return Source(folder, manifest, signers, is_archive=False)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """EdgekitError for what the system refuses within."""
    try:
        yield
    except OSError as error:
        raise EdgekitError(
            f"expected to be able to read {path}, found: {error.strerror}", "get the bundle again"
        ) from error
