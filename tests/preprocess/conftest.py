"""The clip of a beat tracker, decoded once for all tests of sounds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.preprocess.sounds import npy


@pytest.fixture(scope="session")
def beats() -> dict[str, Any]:
    """BeatNet's own clip, its filters as a file of a bundle, and the features that its network was tried on."""
    pytest.importorskip("torch")
    from tests.export.real.test_beatnet import clip, filters, log_spectrogram

    sound = clip()
    return {"sound": sound, "assets": {"filters.npy": npy(filters())}, "features": log_spectrogram(sound)}
