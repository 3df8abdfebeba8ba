"""What is left of a bundle once all of it was checked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit.bundle.contents import read_spec
from edgekit.bundle.manifest import Manifest
from edgekit.bundle.signature import Signer, signed_by
from edgekit.errors import IntegrityError


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle whose files all match; `contents` are the very bytes that were hashed, so no one can swap them after.

    `signers` vouch for it, as far as the Trust that was asked for says; none where it is not signed. Of an archive
    `path` is its file, and `starts` says at which byte of it the contents of each file begin; of a folder it is empty.
    """

    path: Path
    manifest: Manifest
    contents: dict[str, bytes]
    signers: tuple[Signer, ...] = ()
    starts: dict[str, int] = field(default_factory=dict)

    @property
    def signed(self) -> str:
        """The signers in one line."""
        return signed_by(self.signers)

    def table(self, kind: Any, name: str) -> Any:
        """The spec that a kept JSON file holds, None without a name; IntegrityError when it is no such spec."""
        return read_spec(kind, self.contents[name], name) if name else None


def check_kept(bundle: Path, manifest: Manifest, keep: Collection[str]) -> None:
    """Raise IntegrityError for the name of a file to keep that the manifest does not have; "" is none."""
    for name in filter(None, keep):
        if name not in manifest.files:
            raise IntegrityError(f"expected {name} in {bundle}, found another manifest than a moment ago")
