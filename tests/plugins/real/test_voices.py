"""The emulated LSTM kernel inside two trained networks: silero-vad (128 units) and Resemblyzer (three layers of 256).

Real: the weights, and a telephone call of two women with a person's marks of who speaks when. onnxruntime computes all
but the recurrences, and the whole network in FP32 is what each answer is compared with.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

from edgekit import reference  # noqa: E402
from edgekit.configs import QuantizeConfig  # noqa: E402
from edgekit.export import export  # noqa: E402
from edgekit.judge import plain_session  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402
from edgekit.reference import LSTM, LSTMOutputs  # noqa: E402
from tests.bench.quantize.pretrained import resemblyzer_source, silero_source, spoken  # noqa: E402
from tests.export.real.recording import RATE, call, folder, turns  # noqa: E402
from tests.export.real.test_silero import CHUNK, CONTEXT  # noqa: E402
from tests.plugins.node_cases import (  # noqa: E402
    CutNetwork,
    Recurrence,
    emulated,
    int8_rows,
    sqnr_db,
    with_half_weights,
    with_int8_weights,
)

pytestmark = pytest.mark.slow  # an export, a quantization, and recurrences with a fiber for each thread

PIECES, UNITS = 8, 128
Arrays = dict[str, np.ndarray]
Step = Callable[[Arrays], Arrays]


@pytest.fixture(scope="module")
def silero(shared) -> Path:
    folder("silero_vad"), folder("pyannote.audio")
    made = shared("silero-lstm", lambda where: export(silero_source(where / "source.py"), where / "model.onnx"))
    return made / "model.onnx"


@pytest.fixture(scope="module")
def resemblyzer(shared) -> Path:
    """A folder with `model.onnx`, and `int8.onnx` as `edgekit quantize` makes it of the first turns of both women."""
    folder("resemblyzer"), folder("pyannote.audio")

    def make(where: Path) -> None:
        export(resemblyzer_source(where / "source.py"), where / "model.onnx")
        np.savez(where / "x.npz", mels=np.concatenate([pieces for _, pieces in spoken()[0]]))
        quantize(where / "model.onnx", where / "int8.onnx", QuantizeConfig("int8", data=str(where / "x.npz")))

    return shared("resemblyzer-lstm", make)


def whole(model: Path) -> Step:
    """The network in onnxruntime, LSTMs and all."""
    session = plain_session(str(model))
    names = [item.name for item in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))


def cut(model: Path, recurrence: Recurrence) -> Step:
    """The network in onnxruntime, but the LSTMs."""
    return functools.partial(CutNetwork(onnx.load(model)).run, recurrence=recurrence)


def streamed(step: Step, forget: bool = False) -> np.ndarray:
    """The call in eight pieces at once, chunk by chunk -> speech [8,117]; the state is handed on, unless `forget`."""
    chunks = len(call()) // CHUNK // PIECES
    sound = call()[: PIECES * chunks * CHUNK].reshape(PIECES, chunks, CHUNK)
    context, zeros = np.zeros((PIECES, CONTEXT), np.float32), np.zeros((PIECES, UNITS), np.float32)
    h, c, speech = zeros, zeros, []
    for chunk in range(chunks):
        x = np.concatenate([context, sound[:, chunk]], 1)
        made = step({"x": x, "h": h, "c": c})
        context = x[:, -CONTEXT:]
        h, c = (zeros, zeros) if forget else (made["h_out"], made["c_out"])
        speech.append(made["speech"])
    return np.concatenate(speech, 1)


def marked(count: int) -> np.ndarray:
    """Whether the middle of each of the first `count` chunks of the call is in a turn that a person marked."""
    middles = (np.arange(count) + 0.5) * CHUNK / RATE
    return np.any([(start < middles) & (middles < end) for _, start, end in turns()], axis=0)


def test_a_cut_network_is_the_whole_one(silero, resemblyzer):
    """With the definition in float64 in place of onnxruntime's FP32: what is cut out is put back where it was."""
    np.testing.assert_allclose(streamed(cut(silero, reference.lstm)), streamed(whole(silero)), atol=3e-6)
    _, feeds = few_pieces()
    feeds = {"mels": feeds["mels"][:, :50]}
    for file in ("model.onnx", "int8.onnx"):
        found, wanted = (
            run(feeds)["output"] for run in (cut(resemblyzer / file, reference.lstm), whole(resemblyzer / file))
        )
        np.testing.assert_allclose(found, wanted, atol=1e-5)


# How far a probability of speech may be from FP32's. Measured: 0.0006 and 0.0096.
@pytest.mark.parametrize(("weights", "atol"), [(with_half_weights, 0.002), (with_int8_weights, 0.02)])
@pytest.mark.parametrize("device", [(87, 16), (75, 40)])
def test_silero_decides_as_in_fp32_on_all_chunks_of_the_call(silero, emulator, weights, atol, device):
    """936 decisions; each piece is a stream of 117 chunks, whose state goes out of the kernel and into it again."""
    with emulated(emulator, *device):
        found = streamed(cut(silero, lambda op: emulator.lstm(weights(op))))
    wanted = streamed(whole(silero))
    np.testing.assert_array_equal(found > 0.5, wanted > 0.5)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)
    same_weights = streamed(cut(silero, lambda op: reference.lstm(weights(op))))
    np.testing.assert_allclose(found, same_weights, rtol=0, atol=0.002)
    speaking = marked(found.size)
    assert np.mean((found.ravel() > 0.5) == speaking) > 0.9
    assert 0.6 < speaking.mean() < 0.9


def test_the_stream_needs_its_state(silero):
    """Else the test above would say nothing about it."""
    kept, forgotten = (streamed(whole(silero), forget) > 0.5 for forget in (False, True))
    assert np.sum(kept != forgotten) > 50


@functools.cache
def few_pieces() -> tuple[np.ndarray, Arrays]:
    """Who speaks in each, and eight pieces of 1.6 s of the second turns, as evenly as they come."""
    second = spoken()[1]
    chosen = [pieces[np.linspace(0, len(pieces) - 1, 4).astype(int)] for _, pieces in second]
    return np.repeat([0, 1], 4), {"mels": np.concatenate(chosen)}


def enrolled(model: Path) -> np.ndarray:
    """Both voices [2,256], of length 1, as FP32 hears them in their first turns."""
    means = np.stack([whole(model)({"mels": pieces})["output"].mean(0) for _, pieces in spoken()[0]])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


# The design's bar for INT8 weights is 19 dB. Measured: 61 and 21.
@pytest.mark.parametrize(("file", "weights", "bar"), [("model.onnx", with_half_weights, 55), ("int8.onnx", None, 19)])
def test_resemblyzer_tells_two_voices_apart_as_in_fp32(resemblyzer, emulator, record_property, file, weights, bar):
    """In INT8, W and R of all three layers: R's bytes go from the file into the kernel as they are."""

    def on(run: Recurrence) -> tuple[np.ndarray, np.ndarray]:
        """The embeddings [8,256], and the last h of each layer [3,8,256]."""
        states: list[np.ndarray] = []

        def recurrence(op: LSTM) -> LSTMOutputs:
            op = weights(op) if weights else op
            assert op.r.dtype == (np.float16 if weights else np.int8)
            outputs = run(op)
            states.append(outputs.h_n)
            return outputs

        return cut(resemblyzer / file, recurrence)(feeds)["output"], np.concatenate(states)

    who, feeds = few_pieces()
    wanted = whole(resemblyzer / "model.onnx")(feeds)["output"]
    (found, states), (_, same_weights) = on(emulator.lstm), on(reference.lstm)
    assert states.shape == (3, PIECES, 256)
    record_property("sqnr_db", round(sqnr_db(wanted, found), 1))
    assert sqnr_db(wanted, found) >= bar
    assert sqnr_db(same_weights[2], states[2]) >= 60, "the kernel's own error, which each layer hands on"
    voices = enrolled(resemblyzer / "model.onnx")
    decided = [(embeddings @ voices.T).argmax(1) for embeddings in (wanted, found)]
    np.testing.assert_array_equal(decided[1], decided[0])
    assert np.mean(decided[0] == who) > 0.8


def constants(model: Path) -> Arrays:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(model).graph.initializer}


def test_the_scales_of_quantize_are_the_largest_of_each_row(resemblyzer):
    """What it writes for R has the form, and the scales, that the kernel's other tests go by; it rounds better."""
    plain, quantized = (constants(resemblyzer / file) for file in ("model.onnx", "int8.onnx"))
    for layer in range(3):
        nearest, scale = int8_rows(plain[f"lstm.r{layer}"])
        np.testing.assert_allclose(quantized[f"lstm.r{layer}_scale"][..., 0], scale, rtol=1e-6)
        assert not quantized[f"lstm.r{layer}_zero"].any()
        assert np.abs(quantized[f"lstm.r{layer}_int8"].astype(int) - nearest).max() < 10


def recorded(model: Path, frames: int) -> list[LSTM]:
    """What the LSTMs of a network are given for the first frames of the eight pieces."""
    ops: list[LSTM] = []

    def recurrence(op: LSTM) -> LSTMOutputs:
        ops.append(op)
        return reference.lstm(op)

    cut(model, recurrence)({"mels": few_pieces()[1]["mels"][:, :frames]})
    return ops


@pytest.mark.parametrize("file", ["model.onnx", "int8.onnx"])
def test_no_order_of_threads_changes_a_bit(resemblyzer, emulator, file):
    """Three layers, each of several blocks that wait for one another."""
    for op in recorded(resemblyzer / file, 12):
        op = op if op.r_scale is not None else with_half_weights(op)
        plain = emulator.lstm(op)
        for schedule, seed in [("reverse", 0), ("random", 1), ("random", 2)]:
            with emulated(emulator, schedule=schedule, seed=seed):
                found = emulator.lstm(op)
            for one, other in zip(plain, found, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("file", ["model.onnx", "int8.onnx"])
def test_an_sm_without_large_products_and_async_copies_agrees(resemblyzer, emulator, file):
    """SM 7.5 multiplies 8 inputs at a time; a sum in another order may round h to the next FP16 number."""
    for op in recorded(resemblyzer / file, 12):
        op = op if op.r_scale is not None else with_half_weights(op)
        plain = emulator.lstm(op)
        with emulated(emulator, 75, 40):
            found = emulator.lstm(op)
        for one, other in zip(plain, found, strict=True):
            np.testing.assert_allclose(other, one, rtol=0, atol=2e-4)
