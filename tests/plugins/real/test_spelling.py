"""The emulated GRU kernel inside g2p-en, a trained network that spells: letters in, sounds out, 256 units twice.

Real: the weights, and the oracle: the package's own NumPy code. onnxruntime computes all but the recurrences. The
encoder takes whole words of different lengths; the decoder takes one step a launch, its state out of it and in again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

from edgekit import reference  # noqa: E402
from edgekit.configs import ExportConfig, QuantizeConfig  # noqa: E402
from edgekit.export import export  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402
from edgekit.reference import GRU, Outputs  # noqa: E402
from tests.export.real import test_g2p  # noqa: E402
from tests.export.real.recording import folder  # noqa: E402
from tests.plugins.node_cases import CutNetwork, Recurrence, emulated, sqnr_db, with_half_weights  # noqa: E402

pytestmark = pytest.mark.slow  # two exports, two quantizations, and recurrences with a fiber for each thread

WORDS = (*test_g2p.WORDS, "gated", "recurrent", "emulator")
# None of WORDS.
CALIBRATION = ("the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "machine", "learning", "extraordinary")
LONGEST = 20  # sounds, and letters of CALIBRATION
# Weights: the files of the two halves, and what becomes of their R.
WEIGHTS = {"FP16": ("{}.onnx", with_half_weights), "INT8": ("{}.int8.onnx", lambda op: op)}

oracle = test_g2p.oracle


class Spoken(NamedTuple):
    """The sounds of each word, the encoder's last state [1,N,256], the logits of each step [20,N,74]."""

    sounds: list[list[str]]
    h: np.ndarray
    logits: np.ndarray


class Speller:
    """Both halves, cut at their GRUs."""

    def __init__(self, nets: Path, oracle: Any, files: str = "{}.onnx") -> None:
        self._encoder, self._decoder = (
            CutNetwork(onnx.load(nets / files.format(half))) for half in ("encoder", "decoder")
        )
        self._oracle = oracle

    def say(self, words: tuple[str, ...], recurrence: Recurrence, forget: bool = False) -> Spoken:
        """All words at once; the likeliest sound goes back in. With `forget` the state does not."""
        h = first = self._encoder.run(letters_of(words, self._oracle), recurrence)["h"]
        sound, steps, logits = np.full(len(words), self._oracle.p2idx["<s>"]), [], []
        for _ in range(LONGEST):
            made = self._decoder.run({"sound": sound, "h": h}, recurrence)
            h, sound = h if forget else made["h_out"], made["logits"].argmax(1)
            steps.append([self._oracle.idx2p[index] for index in sound])
            logits.append(made["logits"])
        sounds = [[*step, "</s>"] for step in zip(*steps, strict=True)]
        return Spoken([word[: word.index("</s>")] for word in sounds], first, np.stack(logits))


def letters_of(words: tuple[str, ...], oracle: Any) -> dict[str, np.ndarray]:
    """Of each word its letters and an end, padded with 0."""
    indices = [[*(oracle.g2idx[letter] for letter in word), oracle.g2idx["</s>"]] for word in words]
    lengths = np.array([len(word) for word in indices])
    letters = np.zeros((len(words), LONGEST), np.int64)
    for row, word in zip(letters, indices, strict=True):
        row[: len(word)] = word
    return {"letters": letters, "lengths": lengths}


@pytest.fixture(scope="module")
def nets(shared, oracle) -> Path:
    """A folder with `encoder.onnx`, `decoder.onnx`, and both as `edgekit quantize` makes them: `encoder.int8.onnx`."""

    def make(where: Path) -> None:
        checkpoint = str(folder("g2p_en") / "checkpoint20.npz")
        (where / "g2p_nets.py").write_text(f"CHECKPOINT = {checkpoint!r}\n{test_g2p.NETS}")
        for half, dynamic in [("encoder", ()), ("decoder", ("h:1=batch",))]:
            export(f"{where / 'g2p_nets.py'}:{half}", where / f"{half}.onnx", ExportConfig(dynamic=dynamic))
        np.savez(where / "encoder.npz", **letters_of(CALIBRATION, oracle))
        np.savez(where / "decoder.npz", **decoders_inputs(where, oracle))
        for half in ("encoder", "decoder"):
            config = QuantizeConfig("int8", data=str(where / f"{half}.npz"))
            quantize(where / f"{half}.onnx", where / f"{half}.int8.onnx", config)

    return shared("g2p-gru", make)


def decoders_inputs(nets: Path, oracle: Any) -> dict[str, np.ndarray]:
    """The first sounds and states of CALIBRATION, sample by sample: sound [K], h [K,1,256]."""
    encoder, decoder = (CutNetwork(onnx.load(nets / f"{half}.onnx")) for half in ("encoder", "decoder"))
    h = encoder.run(letters_of(CALIBRATION, oracle), reference.gru)["h"]
    sound, sounds, states = np.full(len(CALIBRATION), oracle.p2idx["<s>"]), [], []
    for _ in range(6):
        sounds.append(sound)
        states.append(h)
        made = decoder.run({"sound": sound, "h": h}, reference.gru)
        h, sound = made["h_out"], made["logits"].argmax(1)
    return {"sound": np.concatenate(sounds), "h": np.concatenate(states, 1).swapaxes(0, 1)}


# How far the encoder's state may be from FP32's. Measured: 77 and 47 dB; of the kernel's own error, 81 and 81.
@pytest.mark.parametrize(("weights", "bar"), [("FP16", 70), ("INT8", 40)])
@pytest.mark.parametrize("device", [(87, 16), (75, 40)])
def test_words_are_said_as_the_package_says_them(nets, oracle, emulator, record_property, device, weights, bar):
    """The INT8 of `quantize`: R's bytes go from the file into the kernel as they are, and all else is INT8 too."""
    files, narrow = WEIGHTS[weights]
    speller = Speller(nets, oracle, files)
    kinds, steps = set(), []

    def recurrence(op: GRU) -> Outputs:
        op = narrow(op)
        kinds.add(op.r.dtype)
        steps.append(op.shape[0])
        return emulator.gru(op)

    with emulated(emulator, *device):
        found = speller.say(WORDS, recurrence)
    assert found.sounds[0] == ["R", "OW2", "B", "AA1", "T", "IH0", "K", "S"]
    assert found.sounds == [oracle.predict(word) for word in WORDS]
    assert kinds == {np.dtype(np.float16 if weights == "FP16" else np.int8)}
    assert steps == [LONGEST, *[1] * LONGEST]
    exact = Speller(nets, oracle).say(WORDS, reference.gru)
    same_weights = speller.say(WORDS, lambda op: reference.gru(narrow(op)))
    record_property("sqnr_db", round(sqnr_db(exact.h, found.h), 1))
    assert sqnr_db(exact.h, found.h) >= bar
    assert sqnr_db(same_weights.h, found.h) >= 70
    assert sqnr_db(same_weights.logits, found.logits) >= 60


def test_a_cut_network_says_what_the_package_says(nets, oracle):
    """By the definition in float64; the encoder's state is NumPy's."""
    found = Speller(nets, oracle).say(WORDS, reference.gru)
    assert found.sounds == [oracle.predict(word) for word in WORDS]
    weights = [getattr(oracle, f"enc_{name}") for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
    for row, word in enumerate(WORDS):
        wanted = oracle.gru(oracle.encode(word), len(word) + 1, *weights)[:, -1]
        np.testing.assert_allclose(found.h[:, row], wanted, atol=1e-5)


def test_the_words_need_all_that_a_gru_has(nets, oracle):
    """Else the tests above would say nothing about it."""
    speller, wanted = Speller(nets, oracle), [oracle.predict(word) for word in WORDS]

    def without_bias(op: GRU) -> Outputs:
        return reference.gru(replace(op, rb_h=None))

    def wrong(recurrence: Recurrence, forget: bool = False) -> int:
        sounds = speller.say(WORDS, recurrence, forget).sounds
        return sum(one != other for one, other in zip(sounds, wanted, strict=True))

    assert wrong(reference.gru) == 0
    assert wrong(reference.gru, forget=True) == len(WORDS)
    assert wrong(lambda op: reference.gru(replace(op, linear_before_reset=False))) > len(WORDS) / 2
    assert wrong(lambda op: reference.gru(replace(op, lengths=None))) > len(WORDS) / 2
    # The bias is too small here to be heard, but not to be seen in the state.
    exact, other = (speller.say(WORDS, one).h for one in (reference.gru, without_bias))
    assert sqnr_db(exact, other) < 40


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_word_alone_is_said_the_same(nets, oracle, emulator, weights):
    """One row of a group of eight."""
    files, narrow = WEIGHTS[weights]
    found = Speller(nets, oracle, files).say(WORDS[:1], lambda op: emulator.gru(narrow(op)))
    assert found.sounds == [oracle.predict(WORDS[0])]


def encoders_op(nets: Path, oracle: Any, weights: str) -> GRU:
    """What the encoder's GRU is given for WORDS."""
    files, narrow = WEIGHTS[weights]
    ops: list[GRU] = []

    def recurrence(op: GRU) -> Outputs:
        ops.append(narrow(op))
        return reference.gru(op)

    CutNetwork(onnx.load(nets / files.format("encoder"))).run(letters_of(WORDS, oracle), recurrence)
    return ops[0]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_letter_by_letter_is_the_whole_word(nets, oracle, emulator, weights):
    """To the last bit: the state goes out of one launch and into the next in FP32, as it stays within one."""
    op = encoders_op(nets, oracle, weights)
    whole = emulator.gru(op)
    h = np.zeros_like(whole.h_n)
    for time in range(LONGEST):
        one = replace(op, xproj=op.xproj[[time]], lengths=(time < op.lengths).astype(np.int32), h0=h)
        y, h = emulator.gru(one)
        np.testing.assert_array_equal(y[0], whole.y[time])
    np.testing.assert_array_equal(h, whole.h_n)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_no_order_of_threads_changes_a_bit(nets, oracle, emulator, weights):
    """Two groups of rows, each of several blocks that wait for one another."""
    op = encoders_op(nets, oracle, weights)
    plain = emulator.gru(op)
    for schedule, seed in [("reverse", 0), ("random", 1), ("random", 2)]:
        with emulated(emulator, schedule=schedule, seed=seed):
            found = emulator.gru(op)
        for one, other in zip(plain, found, strict=True):
            np.testing.assert_array_equal(one, other)
