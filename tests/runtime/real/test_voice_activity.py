"""silero-vad from a bundle, as a microphone brings its sound: chunks of any length, a step for each window.

Oracle: the package's own TorchScript, and a person's marks of who speaks when.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgekit.runtime import Session  # noqa: E402
from tests.export.real.recording import RATE, call, folder, turns  # noqa: E402
from tests.export.real.test_silero import CHUNK, NET  # noqa: E402
from tests.runtime.real.deployed import deployed  # noqa: E402

RECIPE = """
[export]
dynamic = ["h:1=batch", "c:1=batch"]

[preprocess]
kind = "audio"
input = "x"
rate = 16000
window = 576
hop = 512
before = 64

[stream]
states = ["h=h_out", "c=c_out"]
"""


def silero_bundle(shared) -> Path:
    source = f"JIT = {str(folder('silero_vad') / 'data/silero_vad.jit')!r}\n{NET}"
    return shared("bundle-silero", lambda made: deployed(made, source, RECIPE)) / "out/bundle"


@pytest.fixture(scope="module")
def bundle(shared) -> Path:
    return silero_bundle(shared)


def listened(session: Session, sound: np.ndarray, chunks: int) -> np.ndarray:
    """The probability of speech of each window, the sound in so many chunks of unequal lengths."""
    windows, found = session.windows(), []
    cuts = np.sort(np.random.default_rng(chunks).integers(0, len(sound), chunks))
    for chunk in np.split(sound, cuts):
        for window in windows.push(chunk):
            found.append(float(session.step(window)["speech"][0, 0]))
    return np.array(found)


def told_by_the_package(sound: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.load is deprecated
        model = torch.jit.load(folder("silero_vad") / "data/silero_vad.jit").eval()
    with torch.no_grad():
        parts = [model(part, RATE) for part in torch.from_numpy(sound)[None].split(CHUNK, dim=1)]
    return torch.cat(parts, 1)[0].numpy()


def test_half_a_minute_of_a_call_as_a_microphone_brings_it(bundle):
    sound = call()[: len(call()) // CHUNK * CHUNK]
    with Session.open(bundle) as session:
        found = listened(session, sound, 400)
        assert session.metrics()["steps"] == len(sound) // CHUNK
    np.testing.assert_allclose(found, told_by_the_package(sound), atol=2e-5)
    middle = (np.arange(len(found)) + 0.5) * CHUNK / RATE
    speaking = np.any([(start < middle) & (middle < end) for _, start, end in turns()], axis=0)
    assert found[speaking].mean() > 0.85
    assert found[middle < turns()[0][1] - 0.5].mean() < 0.1


def test_silence_after_speech_is_no_speech_once_the_stream_begins_anew(bundle):
    with Session.open(bundle) as session:
        listened(session, call()[7 * RATE : 9 * RATE], 1)
        session.reset()
        found = listened(session, np.zeros(50 * CHUNK, np.float32), 3)
    assert found.max() < 0.05
    assert found[-1] == pytest.approx(0.004, abs=0.004)
