"""silero-vad's 16 kHz network with its own weights, exported as a stream, against its own TorchScript file.

Real: the weights and the oracle (silero_vad.jit), and the speech, a telephone call with a person's marks of who speaks
when. The network is written anew as a plain module, since torch exports no TorchScript to ONNX.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.export.real.recording import RATE, call, folder, turns

torch = pytest.importorskip("torch")

from edgekit.build import build  # noqa: E402
from edgekit.configs import BuildConfig, ExportConfig  # noqa: E402
from edgekit.export import export  # noqa: E402

CHUNK, CONTEXT = 512, 64

NET = textwrap.dedent("""
    import warnings
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.load is deprecated, and the file is TorchScript
        STATE = torch.jit.load(JIT).state_dict()
    PLACES = {"stft": "stft.forward_basis_buffer", "final": "decoder.decoder.2"}
    PLACES |= {f"convs.{index}": f"encoder.{index}.reparam_conv" for index in range(4)}

    def weights():
        '''Their names -> ours; an LSTMCell becomes an LSTM of one layer.'''
        made = {"stft.weight": STATE["_model." + PLACES["stft"]]}
        for ours, theirs in PLACES.items():
            if ours != "stft":
                made |= {f"{ours}.{kind}": STATE[f"_model.{theirs}.{kind}"] for kind in ("weight", "bias")}
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            made[f"lstm.{kind}_l0"] = STATE[f"_model.decoder.rnn.{kind}"]
        return made

    class Silero(torch.nn.Module):
        '''x [N,64+512]: the end of the chunk before and a chunk; h and c [1,N,128] -> speech [N,1] and the state.'''
        def __init__(self):
            super().__init__()
            nn = torch.nn
            self.stft = nn.Conv1d(1, 258, 256, stride=128, bias=False)
            sizes = [(129, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1)]
            self.convs = nn.ModuleList([nn.Conv1d(a, b, 3, stride=stride, padding=1) for a, b, stride in sizes])
            self.lstm, self.final = nn.LSTM(128, 128), nn.Conv1d(128, 1, 1)
        def forward(self, x, h, c):
            x = self.stft(torch.nn.functional.pad(x, (0, 64), mode="reflect").unsqueeze(1))
            x = (x[:, :129] ** 2 + x[:, 129:] ** 2).sqrt()
            for conv in self.convs:
                x = conv(x).relu()
            y, (h, c) = self.lstm(x.permute(2, 0, 1), (h, c))
            return {"speech": self.final(y[0].unsqueeze(-1).relu()).sigmoid().squeeze(-1), "h": h, "c": c}

    def make():
        module = Silero()
        module.load_state_dict(weights())
        sound = torch.randn(2, 576, generator=torch.Generator().manual_seed(0)) / 10
        return module, {"x": sound, "h": torch.zeros(1, 2, 128), "c": torch.zeros(1, 2, 128)}
""")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Any:
    jit = folder("silero_vad") / "data/silero_vad.jit"
    made = tmp_path_factory.mktemp("silero")
    (made / "silero.py").write_text(f"JIT = {str(jit)!r}\n{NET}")
    return export(f"{made / 'silero.py'}:make", made / "m.onnx", ExportConfig(dynamic=("h:1=batch", "c:1=batch")))


@pytest.fixture(scope="module")
def jit() -> Callable[[np.ndarray], np.ndarray]:
    """The package's own network over sounds [N,S]: speech [N,chunks]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.load is deprecated
        model = torch.jit.load(folder("silero_vad") / "data/silero_vad.jit").eval()

    def over(sound: np.ndarray) -> np.ndarray:
        model.reset_states()
        with torch.no_grad():
            parts = [model(part, RATE) for part in torch.from_numpy(sound).split(CHUNK, dim=1)]
        return torch.cat(parts, 1).numpy()

    return over


def streamed(path: Any, sound: np.ndarray) -> np.ndarray:
    """Our model chunk by chunk, with the state and the last 64 samples handed on."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    context = np.zeros((len(sound), CONTEXT), np.float32)
    h = c = np.zeros((1, len(sound), 128), np.float32)
    parts = []
    for chunk in np.split(sound, sound.shape[1] // CHUNK, axis=1):
        x = np.concatenate([context, chunk], 1)
        speech, h, c = session.run(["speech", "h_out", "c_out"], {"x": x, "h": h, "c": c})
        context = x[:, -CONTEXT:]
        parts.append(speech)
    return np.concatenate(parts, 1)


def whole_chunks(sound: np.ndarray) -> np.ndarray:
    return sound[: len(sound) // CHUNK * CHUNK][None]


def test_batch_stays_open_and_the_state_has_it_in_the_middle(exported):
    assert exported.inputs == {"x": ["batch", 576], "h": [1, "batch", 128], "c": [1, "batch", 128]}
    assert exported.outputs == ["speech", "h_out", "c_out"]
    assert exported.ops["LSTM"] == 1


def test_half_a_minute_of_a_call_is_the_packages_own_answer(exported, jit):
    """937 chunks in a row: an error in the state would pile up."""
    sound = whole_chunks(call())
    wanted, found = jit(sound)[0], streamed(exported.path, sound)[0]
    assert wanted.shape == (len(sound[0]) // CHUNK,)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    middle = (np.arange(len(found)) + 0.5) * CHUNK / RATE
    speaking = np.any([(start < middle) & (middle < end) for _, start, end in turns()], axis=0)
    assert found[speaking].mean() > 0.85
    assert found[middle < turns()[0][1] - 0.5].mean() < 0.1


def test_silence_is_no_speech(exported, jit):
    silence = np.zeros((1, 50 * CHUNK), np.float32)
    found = streamed(exported.path, silence)
    np.testing.assert_allclose(found, jit(silence), atol=2e-5)
    assert found.max() < 0.05
    assert found[0, -1] == pytest.approx(0.004, abs=0.004)


def test_three_pieces_of_the_call_at_once(exported, jit):
    """The export saw a batch of 2."""
    sound = call()
    pieces = np.stack([sound[start * RATE : start * RATE + 100 * CHUNK] for start in (0, 10, 22)])
    found = streamed(exported.path, pieces)
    np.testing.assert_allclose(found, jit(pieces), atol=2e-5)
    assert np.ptp(found.mean(1)) > 0.5


def test_tensorrt_rtx_builds_it(exported, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    assert build(exported.path, tmp_path / "m.engine", BuildConfig("rtx", ("8.6",))).bytes > 500_000
