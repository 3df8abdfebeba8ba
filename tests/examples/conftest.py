"""A folder in which the commands of an example's README can be run as they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reading import ROOT


@pytest.fixture
def checkout(tmp_path) -> Path:
    """It has the examples, and an empty out/."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "out").mkdir()
    return tmp_path
