"""BeatNet from a bundle: the sound becomes madmom's filtered spectrogram by the bundle's own data, with its filters.

Oracle: the clip was played at 120 beats a minute; and the spectrogram as numpy makes it in tests/export/real.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from edgekit.runtime import Session
from tests.export.real.recording import folder
from tests.export.real.test_beatnet import (
    NET,
    RATE,
    beat_times,
    beats_a_minute,
    clip,
    filters,
    log_spectrogram,
)
from tests.runtime.real.deployed import deployed

# Source: BeatNet 1.1.3, BeatNet.py: 22050 Hz, windows of 64 ms every 20 ms.
RECIPE = """
[export]
dynamic = ["h:1=batch", "c:1=batch"]

[build]
shape = ["x:1x1x272:1x50x272:1x600x272", "h:2x1x150", "c:2x1x150"]

[preprocess]
kind = "audio"
input = "x"
rate = 22050
features = "spectrogram"
window = 1411
hop = 441
before = 705
after = 705
taper = "hann_symmetric"
power = 1
filters = "filters.npy"
logarithm = "log10(1+x)"
rise = true

[stream]
states = ["h=h_out", "c=c_out"]
"""


@pytest.fixture(scope="module")
def bundle(shared) -> Path:
    def make(made: Path) -> None:
        np.save(made / "filters.npy", filters().astype(np.float32))
        deployed(made, f"FOLDER = {str(folder('BeatNet'))!r}\n{NET}", RECIPE)

    return shared("bundle-beatnet", make) / "out/bundle"


def test_its_own_clip_has_120_beats_a_minute(bundle):
    with Session.open(bundle) as session:
        session.preprocess(clip())
        np.testing.assert_allclose(session.input("x")[0], log_spectrogram(clip()), atol=2e-5)
        session.execute()
        assert beats_a_minute(beat_times(session.output("activations")[0])) == pytest.approx(120.0, abs=0.3)


def test_the_clip_played_a_quarter_faster_has_150(bundle):
    with Session.open(bundle) as session:
        session.preprocess(clip(RATE * 4 // 5))
        session.execute()
        assert beats_a_minute(beat_times(session.output("activations")[0])) == pytest.approx(150.0, abs=0.5)


@pytest.mark.parametrize("chunk", [1, 40])
def test_a_stream_of_its_frames_is_the_whole(bundle, chunk):
    features = log_spectrogram(clip())[:200]
    with Session.open(bundle) as session:
        parts = [session.step(features[at : at + chunk])["activations"].copy() for at in range(0, 200, chunk)]
        session.set_shape("x", (1, 200, 272))
        session.input("x")[...] = features
        session.execute()
        np.testing.assert_allclose(np.concatenate(parts, 2), session.output("activations"), atol=5e-6)
