"""Networks and data that the tests of this room share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dusk import make


@pytest.fixture(scope="session")
def dusk(shared) -> Path:
    """The folder of tests/dusk.py: a network, and the same network with a range that hurts some classes."""
    return shared("dusk", make)
