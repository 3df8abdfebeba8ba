"""A file of a bundle that is held open: its bytes can be read also where the bundle was replaced or removed since."""

from __future__ import annotations

import hashlib

from edgekit.bundle.contents import check_content
from edgekit.bundle.verified import VerifiedBundle
from edgekit.bundle.window import Window
from edgekit.errors import IntegrityError


class Held:
    """One file of a bundle that was verified, opened now and read when it is needed. None of it is in memory."""

    def __init__(self, bundle: VerifiedBundle, name: str) -> None:
        self._manifest, self._name = bundle.manifest, name
        self._start = bundle.starts.get(name, 0)
        self._path = bundle.path if bundle.starts else bundle.path / name
        self._file = self._path.open("rb")

    def read(self) -> bytes:
        """The bytes that were verified; IntegrityError where the file was written over since."""
        entry = self._manifest.files[self._name]
        self._file.seek(self._start)
        data = self._file.read(entry.size)
        if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise IntegrityError(
                f"expected {self._name} in {self._path} as it was when it was opened, found that it was changed",
                "open the bundle again",
            )
        check_content(self._name, Window.over(data), self._manifest)
        return data

    def close(self) -> None:
        """Let the file go; closing twice does no harm."""
        self._file.close()
