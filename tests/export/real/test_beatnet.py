"""BeatNet's network of a convolution and a 2-layer LSTM with its trained weights, on its own clip of a drum at 120 BPM.

Real: the network (the package's model.py run alone, as the package wants madmom, librosa and pyaudio), the weights and
the clip. The features are those of its log_spect.py, madmom's filtered logarithmic spectrogram and its rise, in numpy.
"""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.export.real.recording import folder

torch = pytest.importorskip("torch")

from edgekit.build import build  # noqa: E402
from edgekit.configs import BuildConfig, ExportConfig  # noqa: E402
from edgekit.export import export  # noqa: E402

# Source: BeatNet 1.1.3, BeatNet.py: 22050 Hz, windows of 64 ms every 20 ms, 24 bands an octave.
RATE, WINDOW, HOP, BANDS = 22050, 1411, 441, 24
FRAMES_A_SECOND = RATE / HOP

NET = textwrap.dedent("""
    from pathlib import Path
    import torch

    SPACE = {"__name__": "beatnet_model"}
    exec((Path(FOLDER) / "model.py").read_text(), SPACE)

    class Stream(torch.nn.Module):
        '''x [N,T,272] and the state [2,N,150] -> beat, downbeat and neither [N,3,T], and the state behind them.

        BeatNet keeps the state in attributes: here it comes in and goes out.
        '''
        def __init__(self):
            super().__init__()
            self.net = SPACE["BDA"](272, 150, 2, "cpu")
            weights = torch.load(Path(FOLDER) / "models/model_1_weights.pt", weights_only=True)
            self.net.load_state_dict(weights)
        def forward(self, x, h, c):
            self.net.hidden, self.net.cell = h, c
            activations = self.net(x).softmax(1)
            return {"activations": activations, "h": self.net.hidden, "c": self.net.cell}

    def make():
        x = torch.rand(1, 50, 272, generator=torch.Generator().manual_seed(0))
        return Stream(), {"x": x, "h": torch.zeros(2, 1, 150), "c": torch.zeros(2, 1, 150)}
""")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Any, torch.nn.Module]:
    """The export's report, and torch's module."""
    made = tmp_path_factory.mktemp("beatnet")
    source = f"FOLDER = {str(folder('BeatNet'))!r}\n{NET}"
    (made / "beatnet.py").write_text(source)
    space: dict[str, Any] = {}
    exec(source, space)
    asked = ExportConfig(dynamic=("h:1=batch", "c:1=batch"))
    return export(f"{made / 'beatnet.py'}:make", made / "m.onnx", asked), space["Stream"]().eval()


def clip(rate: int = RATE) -> np.ndarray:
    """The clip's samples, ten seconds, at this rate."""
    av = pytest.importorskip("av")
    with av.open(str(folder("BeatNet") / "test_data/808kick120bpm.mp3")) as file:
        resampler = av.AudioResampler("flt", "mono", rate)
        parts = [part for frame in file.decode(audio=0) for part in resampler.resample(frame)]
        parts += resampler.resample(None)
    return np.concatenate([part.to_ndarray()[0] for part in parts])


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return log_spectrogram(clip())


def filters() -> np.ndarray:
    """[705,136]: overlapping triangles of area 1 between neighbours of a tempered scale around 440 Hz.

    Source: madmom, audio/filters.py: LogarithmicFilterbank from 30 to 17000 Hz with unique bins, where what lies
    above half the sampling rate falls into the last bin.
    """
    low, high = (np.log2(edge / 440) * BANDS for edge in (30, 17000))
    centres = 440 * 2 ** (np.arange(np.ceil(low), np.floor(high) + 1) / BANDS)
    bins = np.fft.fftfreq(WINDOW // 2 * 2, 1 / RATE)[: WINDOW // 2]
    nearest = np.unique(np.abs(bins[None] - centres[:, None]).argmin(1))
    made = np.zeros((len(bins), len(nearest) - 2))
    for index, (start, centre, stop) in enumerate(zip(nearest, nearest[1:], nearest[2:], strict=False)):
        made[start:centre, index] = np.linspace(0, 1, centre - start, endpoint=False)
        made[centre:stop, index] = np.linspace(1, 0, stop - centre, endpoint=False)
    return made / made.sum(0)


def log_spectrogram(sound: np.ndarray) -> np.ndarray:
    """[T,272]: frames centred on each hop, magnitudes through the filters, log10(1 + x), and how much each rose."""
    count = -(-len(sound) // HOP)
    padded = np.pad(sound, (WINDOW // 2, WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: count * HOP : HOP]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(WINDOW)))[:, : WINDOW // 2]
    levels = np.log10(1 + spectrum @ filters())
    rise = np.maximum(0, np.diff(levels, axis=0, prepend=levels[:1]))
    return np.hstack([levels, rise]).astype(np.float32)


def activations(path: Any, features: np.ndarray, chunk: int) -> np.ndarray:
    """[3,T], `chunk` frames at a time with the state handed on."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    h = c = np.zeros((2, 1, 150), np.float32)
    parts = []
    for start in range(0, len(features), chunk):
        x = features[None, start : start + chunk]
        made, h, c = session.run(["activations", "h_out", "c_out"], {"x": x, "h": h, "c": c})
        parts.append(made[0])
    return np.concatenate(parts, 1)


def beat_times(activations: np.ndarray) -> np.ndarray:
    """Seconds at which beat or downbeat is a peak above a half."""
    curve = activations[:2].max(0)
    peak = (curve[1:-1] > curve[:-2]) & (curve[1:-1] >= curve[2:]) & (curve[1:-1] > 0.5)
    return (np.flatnonzero(peak) + 1) / FRAMES_A_SECOND


def beats_a_minute(times: np.ndarray) -> float:
    """A frame is 20 ms: the slope over ten seconds of beats tells 120.0 from 119.7 and 120.3."""
    return 60 / np.polyfit(np.arange(len(times)), times, 1)[0]


def test_its_own_clip_has_120_beats_a_minute(exported, features):
    report, module = exported
    found = activations(report.path, features, len(features))
    with torch.no_grad():
        wanted = module(torch.from_numpy(features)[None], *torch.zeros(2, 2, 1, 150))["activations"][0].numpy()
    np.testing.assert_allclose(found, wanted, atol=5e-6)
    times = beat_times(found)
    assert len(times) >= 15
    np.testing.assert_allclose(np.diff(times), 0.5, atol=2.1 / FRAMES_A_SECOND)
    assert beats_a_minute(times) == pytest.approx(120.0, abs=0.3)


def test_the_clip_played_a_quarter_faster_has_150(exported):
    """120 is heard and not what the peaks of any activation come to: the clip's samples at 4/5 of their number."""
    found = activations(exported[0].path, log_spectrogram(clip(RATE * 4 // 5)), 500)
    assert beats_a_minute(beat_times(found)) == pytest.approx(150.0, abs=0.5)


@pytest.mark.parametrize("chunk", [1, 7, 50])
def test_a_stream_in_chunks_is_the_whole(exported, features, chunk):
    path = exported[0].path
    np.testing.assert_allclose(
        activations(path, features, chunk), activations(path, features, len(features)), atol=5e-6
    )


def test_batch_and_time_stay_open(exported, features):
    """The export saw one sequence of 50 frames."""
    report, module = exported
    assert report.inputs == {"x": ["batch", "time", 272], "h": [2, "batch", 150], "c": [2, "batch", 150]}
    assert report.ops["LSTM"] == 2
    session = onnxruntime.InferenceSession(report.path, providers=["CPUExecutionProvider"])
    for batch, steps in [(1, 1), (3, 41), (4, 50)]:
        x = np.stack([features[start * 50 : start * 50 + steps] for start in range(batch)])
        state = np.random.default_rng(0).uniform(-1, 1, (2, 2, batch, 150)).astype(np.float32)
        with torch.no_grad():
            wanted = module(*map(torch.from_numpy, (x, *state)))
        found = session.run(None, {"x": x, "h": state[0], "c": state[1]})
        for got, want in zip(found, wanted.values(), strict=True):
            # A cell's state runs to 15 here.
            np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * max(1, want.abs().max()))


def test_tensorrt_rtx_builds_it(exported, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    assert build(exported[0].path, tmp_path / "m.engine", BuildConfig("rtx", ("8.6",))).bytes > 500_000
