"""A stand-in for standard TensorRT, which no development machine has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.build.fake_tensorrt import fake_tensorrt


@pytest.fixture
def with_tensorrt(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """`with_tensorrt("10.3.0")` puts a stand-in in the place of `tensorrt`; returns what it is asked."""
    from edgekit.build import flavour

    def install(version: str) -> dict[str, Any]:
        module = fake_tensorrt(version)
        monkeypatch.setattr(flavour, "_import", lambda name: module if name == "tensorrt" else None)
        asked: dict[str, Any] = module.asked
        return asked

    return install
