"""Resemblyzer from a bundle: an utterance becomes mel pieces along the batch, and their mean a voice.

Oracle: who spoke, by a person's marks; and the pieces as numpy makes them in tests/export/real.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from edgekit.runtime import Session
from tests.export.real.recording import folder
from tests.export.real.test_resemblyzer import NET, long_turns, partials
from tests.runtime.real.deployed import deployed

# Source: Resemblyzer 0.1.4, hparams.py and audio.py: librosa's mel spectrogram, pieces of 1.6 s, 1.3 of them a second.
RECIPE = """
[build]
shape = ["mels:1x160x40:4x160x40:64x160x40"]

[preprocess]
kind = "audio"
input = "mels"
rate = 16000
features = "spectrogram"
window = 400
hop = 160
before = 200
after = 200
bands = 40
frames = 160
step = 77
"""


@pytest.fixture(scope="module")
def bundle(shared) -> Path:
    source = f"FOLDER = {str(folder('resemblyzer'))!r}\n{NET}"
    return shared("bundle-resemblyzer", lambda made: deployed(made, source, RECIPE)) / "out/bundle"


def test_one_voice_is_nearer_to_itself_than_to_the_other(bundle):
    """Two turns of each woman, on one line and in one language: same .89 and .92, other .78 to .82."""
    voices = []
    with Session.open(bundle) as session:
        for who, sound in long_turns():
            session.preprocess(sound)
            wanted = partials(sound)
            np.testing.assert_allclose(session.input("mels"), wanted, atol=1e-5 * wanted.max())
            session.execute()
            mean = session.output(next(iter(session.outputs))).mean(0)
            voices.append((who, mean / np.linalg.norm(mean)))
    same = [a @ b for (who, a), (other, b) in combinations(voices, 2) if who == other]
    others = [a @ b for (who, a), (other, b) in combinations(voices, 2) if who != other]
    assert min(same) > 0.87
    assert max(others) < 0.84
    assert min(others) > 0.6
