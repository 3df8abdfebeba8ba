"""g2p-en's letters to sounds, a GRU encoder and a GRU decoder with their trained weights, word by word.

Real: the weights, and the oracle: the package's own numpy code of predict, cut out of its file (the package itself
wants nltk and its data). Reset gate before or after the linear step, and the order of gates, decide the words.
"""

from __future__ import annotations

import ast
import os
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.export.real.recording import folder

torch = pytest.importorskip("torch")

from edgekit.build import build  # noqa: E402
from edgekit.configs import BuildConfig, ExportConfig  # noqa: E402
from edgekit.export import export  # noqa: E402

NETS = textwrap.dedent("""
    import numpy
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    VALUES = numpy.load(CHECKPOINT)

    class Half(torch.nn.Module):
        '''An embedding and a GRU: the arrays keep torch's order of gates, so they load as they are.'''
        def __init__(self, half):
            super().__init__()
            names = ("emb", "w_ih", "w_hh", "b_ih", "b_hh")
            arrays = {name: torch.from_numpy(VALUES[f"{half}_{name}"]) for name in names}
            self.embed, self.gru = torch.nn.Embedding(*arrays["emb"].shape), torch.nn.GRU(256, 256, batch_first=True)
            self.embed.load_state_dict({"weight": arrays["emb"]})
            kinds = {f"{'weight' if name[0] == 'w' else 'bias'}{name[1:]}_l0": name for name in arrays if "_" in name}
            self.gru.load_state_dict({name: arrays[kind] for name, kind in kinds.items()})

    class Encoder(Half):
        '''letters [N,T] int, valid up to lengths [N] -> h [1,N,256].'''
        def forward(self, letters, lengths):
            packed = pack_padded_sequence(self.embed(letters), lengths, batch_first=True, enforce_sorted=False)
            return {"h": self.gru(packed)[1]}

    class Decoder(Half):
        '''The sound before [N] int and h [1,N,256] -> logits [N,74] and h: one step.'''
        def __init__(self, half):
            super().__init__(half)
            self.dense = torch.nn.Linear(256, 74)
            self.dense.load_state_dict({k: torch.from_numpy(VALUES[f"fc_{k[0]}"]) for k in ("weight", "bias")})
        def forward(self, sound, h):
            y, h = self.gru(self.embed(sound)[:, None], h)
            return {"logits": self.dense(y[:, 0]), "h": h}

    def encoder():
        return Encoder("enc"), {"letters": torch.arange(12).reshape(2, 6) + 3, "lengths": torch.tensor([6, 4])}

    def decoder():
        return Decoder("dec"), {"sound": torch.tensor([2, 5]), "h": torch.zeros(1, 2, 256)}
""")

WORDS = (
    "robotics",
    "jetson",
    "quantize",
    "calibration",
    "onnx",
    "edgekit",
    "zyzzyva",
    "a",
    "tensor",
    "strengthlessness",
)


@pytest.fixture(scope="module")
def oracle() -> Any:
    """The package's G2p with what predict needs of it: its methods and tables, without nltk, homographs, dictionary."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an escape in a text that is cut away here
        tree = ast.parse((folder("g2p_en") / "g2p.py").read_text())
    made = next(node for node in tree.body if getattr(node, "name", "") == "G2p")
    kept = ("__init__", "load_variables", "sigmoid", "grucell", "gru", "encode", "predict")
    made.body = [node for node in made.body if getattr(node, "name", "") in kept]
    first = made.body[0]
    first.body = [line for line in first.body if not {"cmudict", "construct_homograph_dictionary"} & names(line)]
    space: dict[str, Any] = {"np": np, "os": os, "dirname": str(folder("g2p_en"))}
    exec(compile(ast.Module([made], []), "g2p.py", "exec"), space)
    return space["G2p"]()


def names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Callable[[str], Path]:
    made = tmp_path_factory.mktemp("g2p")
    (made / "g2p_nets.py").write_text(f"CHECKPOINT = {str(folder('g2p_en') / 'checkpoint20.npz')!r}\n{NETS}")

    def half(name: str) -> Path:
        path = made / f"{name}.onnx"
        asked = ExportConfig(dynamic=("h:1=batch",) if name == "decoder" else ())
        return path if path.exists() else export(f"{made / 'g2p_nets.py'}:{name}", path, asked).path

    return half


def said(exported: Callable[[str], Path], oracle: Any, words: tuple[str, ...]) -> list[list[str]]:
    """All words in one padded batch, then one step of the decoder after another: the likeliest sound goes back in."""
    encoder, decoder = (
        onnxruntime.InferenceSession(exported(name), providers=["CPUExecutionProvider"])
        for name in ("encoder", "decoder")
    )
    indices = [[oracle.g2idx[letter] for letter in word] + [oracle.g2idx["</s>"]] for word in words]
    lengths = np.array([len(word) for word in indices])
    letters = np.zeros((len(words), lengths.max()), np.int64)
    for row, word in zip(letters, indices, strict=True):
        row[: len(word)] = word
    (h,) = encoder.run(None, {"letters": letters, "lengths": lengths})
    sound, steps = np.full(len(words), oracle.p2idx["<s>"]), []
    for _ in range(20):
        logits, h = decoder.run(["logits", "h_out"], {"sound": sound, "h": h})
        sound = logits.argmax(1)
        steps.append([oracle.idx2p[index] for index in sound])
    sounds = [[*step, "</s>"] for step in zip(*steps, strict=True)]
    return [word[: word.index("</s>")] for word in sounds]


def test_words_are_said_as_the_package_says_them(exported, oracle):
    """Of 1 to 16 letters; the encoder was exported with two words of 6 and 4."""
    found = said(exported, oracle, WORDS)
    assert found[0] == ["R", "OW2", "B", "AA1", "T", "IH0", "K", "S"]
    assert found == [oracle.predict(word) for word in WORDS]
    assert len({tuple(word) for word in found}) == len(WORDS)


@pytest.mark.parametrize("word", WORDS[:3])
def test_a_word_alone_is_said_the_same(exported, oracle, word):
    assert said(exported, oracle, (word,)) == [oracle.predict(word)]


def test_the_state_behind_every_word_is_numpys(exported, oracle):
    """Closer than the words tell: a rounding may not be seen in them."""
    encoder = onnxruntime.InferenceSession(exported("encoder"), providers=["CPUExecutionProvider"])
    weights = [getattr(oracle, f"enc_{name}") for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
    for word in WORDS:
        letters = np.array([[oracle.g2idx[letter] for letter in word]])
        (found,) = encoder.run(None, {"letters": letters, "lengths": np.array([len(word)])})
        wanted = oracle.gru(oracle.encode(word), len(word), *weights)[:, -1]
        np.testing.assert_allclose(found[0], wanted, atol=1e-5)


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_tensorrt_rtx_builds_it(exported, tmp_path, half):
    pytest.importorskip("tensorrt_rtx")
    assert build(exported(half), tmp_path / "m.engine", BuildConfig("rtx", ("8.6",))).bytes > 100_000
