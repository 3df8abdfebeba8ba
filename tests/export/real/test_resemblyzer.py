"""Resemblyzer's speaker encoder, a 3-layer LSTM with its trained weights, on two women of one telephone call.

Real: the layers and forward (taken from the package's own voice_encoder.py, which is not imported, as it needs librosa
and webrtcvad), the weights, and the voices. The mel spectrogram is librosa's (Slaney's scale and norm) in numpy.
"""

from __future__ import annotations

import textwrap
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.export.real.recording import RATE, call, folder, turns

torch = pytest.importorskip("torch")

from edgekit.build import build  # noqa: E402
from edgekit.configs import BuildConfig  # noqa: E402
from edgekit.export import export  # noqa: E402

# Source: Resemblyzer 0.1.4, hparams.py.
WINDOW, HOP, MELS, PARTIAL, LOUDNESS = 400, 160, 40, 160, -30

NET = textwrap.dedent("""
    import ast
    from pathlib import Path
    import torch

    SOURCE = (Path(FOLDER) / "voice_encoder.py").read_text()
    CLASS = next(node for node in ast.parse(SOURCE).body if getattr(node, "name", "") == "VoiceEncoder")
    FORWARD = next(node for node in CLASS.body if getattr(node, "name", "") == "forward")
    SPACE = {"torch": torch}
    exec(compile(ast.Module([FORWARD], []), "voice_encoder.py", "exec"), SPACE)

    class VoiceEncoder(torch.nn.Module):
        '''mels [N,T,40] -> embedding [N,256] of length 1.'''
        forward = SPACE["forward"]
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(40, 256, 3, batch_first=True)
            self.linear, self.relu = torch.nn.Linear(256, 256), torch.nn.ReLU()
            state = torch.load(Path(FOLDER) / "pretrained.pt", map_location="cpu", weights_only=True)["model_state"]
            # The rest belongs to the loss it was trained with.
            self.load_state_dict({name: value for name, value in state.items() if "similarity" not in name})

    def make():
        return VoiceEncoder(), {"mels": torch.rand(2, 160, 40, generator=torch.Generator().manual_seed(0)) / 10}
""")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> tuple[Any, torch.nn.Module]:
    """The export's report, and torch's module."""
    made = tmp_path_factory.mktemp("resemblyzer")
    source = f"FOLDER = {str(folder('resemblyzer'))!r}\n{NET}"
    (made / "encoder.py").write_text(source)
    space: dict[str, Any] = {}
    exec(source, space)
    return export(f"{made / 'encoder.py'}:make", made / "m.onnx"), space["VoiceEncoder"]().eval()


def session_of(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def mel_filters() -> np.ndarray:
    """Slaney's: linear below 1 kHz, 27 logarithmic steps for each factor of 6.4 above, triangles of equal area."""
    step = np.log(6.4) / 27
    top = 15 + np.log(RATE / 2 / 1000) / step
    mels = np.linspace(0, top, MELS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * step))
    slopes = edges[:, None] - np.fft.rfftfreq(WINDOW, 1 / RATE)
    widths = np.diff(edges)[:, None]
    triangles = np.maximum(0, np.minimum(-slopes[:-2] / widths[:-1], slopes[2:] / widths[1:]))
    return triangles * (2 / (edges[2:] - edges[:-2]))[:, None]


def mel_spectrogram(sound: np.ndarray) -> np.ndarray:
    """[T,40], as librosa.feature.melspectrogram makes it: power, centred frames, a periodic Hann window."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, WINDOW // 2), WINDOW)[::HOP]
    window = np.sin(np.pi * np.arange(WINDOW) / WINDOW) ** 2
    return (np.abs(np.fft.rfft(frames * window)) ** 2 @ mel_filters().T).astype(np.float32)


def long_turns() -> list[tuple[str, np.ndarray]]:
    """(speaker, sound) of the turns of 3 s and more, at the loudness that the package brings a quiet sound to."""
    sound = call()
    loudness = 20 * np.log10(np.sqrt(np.mean(sound**2)))
    assert loudness < LOUDNESS
    sound = sound * 10 ** ((LOUDNESS - loudness) / 20)
    return [(who, sound[int(a * RATE) : int(b * RATE)]) for who, a, b in turns() if b - a > 3]


def partials(sound: np.ndarray) -> np.ndarray:
    """[K,160,40]: pieces of 1.6 s, 1.3 of them a second, as the package cuts an utterance."""
    mel = mel_spectrogram(sound)
    starts = range(0, len(mel) - PARTIAL + 1, round(RATE / 1.3 / HOP))
    return np.stack([mel[start : start + PARTIAL] for start in starts])


def embedding(session: onnxruntime.InferenceSession, sound: np.ndarray) -> np.ndarray:
    mean = session.run(None, {"mels": partials(sound)})[0].mean(0)
    return mean / np.linalg.norm(mean)


def test_every_batch_and_length_of_real_speech_is_torchs(encoder):
    """The export saw two pieces of 160 frames."""
    report, module = encoder
    assert report.inputs == {"mels": ["batch", "time", 40]}
    assert report.ops["LSTM"] == 3
    session = session_of(report.path)
    for batch, frames in [(1, 160), (1, 1), (3, 37), (5, 250)]:
        mel = mel_spectrogram(call()[7 * RATE :])
        mels = np.stack([mel[start : start + frames] for start in range(0, batch * 300, 300)])
        found = session.run(None, {"mels": mels})[0]
        with torch.no_grad():
            wanted = module(torch.from_numpy(mels)).numpy()
        np.testing.assert_allclose(found, wanted, atol=2e-6)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_one_voice_is_nearer_to_itself_than_to_the_other(encoder):
    """Two turns of each woman, on one line and in one language: same .89 and .92, other .78 to .82."""
    session = session_of(encoder[0].path)
    voices = [(who, embedding(session, sound)) for who, sound in long_turns()]
    assert sorted(who for who, _ in voices) == ["speaker90", "speaker90", "speaker91", "speaker91"]
    same = [a @ b for (who, a), (other, b) in combinations(voices, 2) if who == other]
    others = [a @ b for (who, a), (other, b) in combinations(voices, 2) if who != other]
    assert min(same) > 0.87
    assert max(others) < 0.84
    assert min(others) > 0.6


def test_tensorrt_rtx_builds_it(encoder, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    assert build(encoder[0].path, tmp_path / "m.engine", BuildConfig("rtx", ("8.6",))).bytes > 1_000_000
