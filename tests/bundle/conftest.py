"""Keys of two makers."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def keys(shared) -> Path:
    """A folder with the keys `maker` and `other`, and the public keys beside them."""
    pytest.importorskip("cryptography", reason="signatures need the extra sign")
    from edgekit.bundle import make_keys

    def make(folder: Path) -> None:
        for name in ("maker", "other"):
            make_keys(folder / name)

    return shared("keys", make)
