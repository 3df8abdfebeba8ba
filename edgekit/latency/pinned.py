"""A bundle that was verified before, opened anew: the very same, or none.

Its folder may hold another one by then, of an install, a deploy or somebody else, and each of them can verify: what was
said of the first must not be measured on the second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.bundle import Manifest
from edgekit.errors import IntegrityError
from edgekit.runtime import Session
from edgekit.runtime.opening import open_bundle


@dataclass(frozen=True)
class Pinned:
    """A bundle by the SHA-256 of its manifest, which names that of every file; "" is whichever is there.

    `path` is what all links to it have led to, `trusted_keys` and `require_signature` are as for `Session.open`.
    """

    path: Path
    manifest_sha256: str = ""
    trusted_keys: Sequence[str | Path] = ()
    require_signature: bool = False

    @classmethod
    def of(cls, table: dict[str, Any]) -> Pinned:
        """The one that `table` tells."""
        return cls(**table | {"path": Path(table["path"])})

    def table(self) -> dict[str, Any]:
        """It as JSON values, for another process."""
        return {**vars(self), "path": str(self.path), "trusted_keys": [str(key) for key in self.trusted_keys]}

    def session(self, backend: str) -> Session:
        """Verify every byte again and open it. IntegrityError for another one; and what `Session.open` raises."""
        opened = open_bundle(self.path, backend, "raise", tuple(self.trusted_keys) or None, self.require_signature)
        with opened.closed_on_error():
            if self.manifest_sha256 not in ("", digest_of(opened.bundle.manifest)):
                raise IntegrityError(
                    f"expected the bundle {self.path} as it was when it was verified, found another",
                    "the same command, when nothing changes it",
                )
            return Session(opened)


def digest_of(manifest: Manifest) -> str:
    """The SHA-256 of the manifest's bytes, of which there is one form only."""
    return hashlib.sha256(manifest.dump()).hexdigest()
