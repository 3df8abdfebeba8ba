"""A place to install into: in memory where there is one, since a disk takes its time for every fsync."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.install.bundles import tiny

_MEMORY = "/dev/shm"


@pytest.fixture
def memory() -> Iterator[Path]:
    """A new folder; mostly on another file system than `tmp_path`."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as folder:
        yield Path(folder).resolve()


@pytest.fixture
def bundles(tmp_path) -> dict[str, Path]:
    """Three small ones, by their marks."""
    return {mark: tiny(tmp_path / f"bundle-{mark}", mark) for mark in "ABC"}


@pytest.fixture
def root(memory) -> Path:
    """Where nothing is yet."""
    return memory / "device" / "root"


@pytest.fixture
def signed(bundles, tmp_path):
    """A is signed by one and two, B by two, C by three; the public keys, and the ids, by their names."""
    pytest.importorskip("cryptography", reason="signatures need the extra sign")
    from edgekit.bundle import make_keys, sign

    ids = {name: make_keys(tmp_path / name) for name in ("one", "two", "three")}
    for mark, name in (("A", "one"), ("A", "two"), ("B", "two"), ("C", "three")):
        sign(bundles[mark], tmp_path / name)
    return {name: (str(tmp_path / f"{name}.pub"),) for name in ids}, ids
