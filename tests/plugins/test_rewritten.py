"""Whole networks with edgekit's operators in them, by definition and by emulated kernels.

onnxruntime runs each network as it was, and is the oracle; of ONNX's own cases it is the stored output. All but the
operators is ONNX's reference implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from edgekit.configs import ExportConfig, QuantizeConfig  # noqa: E402
from edgekit.export import export  # noqa: E402
from edgekit.export.source import load_network  # noqa: E402
from edgekit.judge import plain_session  # noqa: E402
from edgekit.models import ARCHITECTURES  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402
from edgekit.rewrite.recurrent_to_plugin import recurrent_to_plugin  # noqa: E402
from edgekit.rewrite.shapes_at import shapes_at  # noqa: E402
from tests.export.cases import CASES, Inputs  # noqa: E402
from tests.export.real.recording import RATE, call, folder  # noqa: E402
from tests.onnx_cases import stored_cases  # noqa: E402
from tests.plugins.emulated_ops import emulated_evaluator  # noqa: E402
from tests.plugins.node_cases import sqnr_db  # noqa: E402
from tests.plugins.op_runs import KINDS, evaluator  # noqa: E402
from tests.plugins.real import test_voices  # noqa: E402
from tests.plugins.real.test_voices import few_pieces  # noqa: E402
from tests.plugins.test_recurrent_onnx import COMPUTED, REFUSED  # noqa: E402

Arrays = dict[str, np.ndarray]
CELLS = ("LSTM", "GRU", "RNN")
RECURRENT = [name for name, case in CASES.items() if set(CELLS) & set(case.ops)]
resemblyzer = test_voices.resemblyzer
QUICK = ("bilstm_tagger", "gru_stream")
# Of recurrent weights.
DTYPES = {"fp32": np.float32, "fp16": np.float16, "int8": np.int8}
# Measured: 57 and 51 at the least.
BARS_DB = {"fp16": 50, "int8": 45}


def taken(model: Any, weights: str = "keep") -> tuple[Any, tuple[str, ...]]:
    """A copy rewritten, and the notes; no recurrent node of ONNX is left in it."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    made = recurrent_to_plugin(copy, lambda item: "", weights, shapes_at(copy, {}))
    onnx.checker.check_model(made.model)
    assert not {*CELLS} & {node.op_type for node in nodes(made.model.graph)}
    return made.model, made.notes


def nodes(graph: Any) -> list[Any]:
    """Those of subgraphs too."""
    inner = [item.g for node in graph.node for item in node.attribute if item.type == onnx.AttributeProto.GRAPH]
    return [*graph.node, *(node for deeper in inner for node in nodes(deeper))]


def plugins(model: Any) -> list[Any]:
    return [node for node in nodes(model.graph) if node.op_type in KINDS]


def constants(model: Any) -> Arrays:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def feeds_of(name: str, examples: Inputs, batch: int, size: int) -> Arrays:
    made = CASES[name].inputs(examples, batch, size, torch.Generator().manual_seed(batch * 1000 + size))
    return {key: value.numpy() for key, value in made.items()}


@pytest.fixture(scope="module")
def nets(shared) -> Callable[[str], Path]:
    """A folder with an architecture, tiny, in each precision: `fp32.onnx`, `fp16.onnx`, `int8.onnx`."""

    def make(name: str, where: Path) -> None:
        case = CASES[name]
        export(name, where / "fp32.onnx", ExportConfig(set=case.settings))
        quantize(where / "fp32.onnx", where / "fp16.onnx", QuantizeConfig("fp16"))
        samples = feeds_of(name, load_network(name, None, case.settings).examples, 3, case.sizes[-1])
        for state in {"h", "c", "state"} & set(samples):
            samples[state] = samples[state].swapaxes(0, 1)  # [layers,N,H]; in data, samples stand along axis 0
        np.savez(where / "data.npz", **samples)
        quantize(where / "fp32.onnx", where / "int8.onnx", QuantizeConfig("int8", data=str(where / "data.npz")))

    return lambda name: shared(f"rewritten-{name}", lambda where: make(name, where))


def test_every_architecture_with_a_recurrence_is_among_them():
    families = {name for name, item in ARCHITECTURES.items() if item.family in ("rnn", "hybrid")}
    assert set(RECURRENT) == families
    assert len(RECURRENT) == 27


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in RECURRENT]
)
def test_an_architecture(nets, emulator, name):
    """In each precision, at batches 1 and 3 and two lengths."""
    case, folder = CASES[name], nets(name)
    examples = load_network(name, None, case.settings).examples
    given = [feeds_of(name, examples, batch, size) for batch in (1, 3) for size in case.sizes]
    count = sum(case.ops.get(cell, 0) for cell in CELLS)
    for precision, dtype in DTYPES.items():
        path = folder / f"{precision}.onnx"
        model, notes = taken(onnx.load(path), "fp16" if precision == "fp16" else "keep")
        assert notes == (f"{count} of {count} recurrent nodes became edgekit's operators",)
        assert [constants(model)[node.input[1]].dtype for node in plugins(model)] == [dtype] * count
        wanted = all_runs(plain_session(str(path)), given)
        for runner in (evaluator(model), emulated_evaluator(model, emulator)):
            close(all_runs(runner, given), wanted, precision)


def all_runs(runner: Any, given: list[Arrays]) -> list[list[np.ndarray]]:
    """Of each output, what it is in each run."""
    return [list(output) for output in zip(*(runner.run(None, feeds) for feeds in given), strict=True)]


def close(found: list[list[np.ndarray]], wanted: list[list[np.ndarray]], precision: str) -> None:
    """FP32 to 1e-5 of the largest value; else by SQNR over all runs, since a Q may round to the other side."""
    for got, want in zip(found, wanted, strict=True):
        assert [(value.shape, value.dtype) for value in got] == [(value.shape, value.dtype) for value in want]
        one, other = (np.concatenate([value.ravel() for value in values]) for values in (got, want))
        if precision == "fp32" or other.dtype == np.int64:
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())
        elif not np.array_equal(one, other):
            assert sqnr_db(other, one) >= BARS_DB[precision]


def with_stored_weights(name: str) -> tuple[Any, Arrays, list[np.ndarray]]:
    """A case of ONNX whose weights are constants, what else goes in, and the stored outputs."""
    case = stored_cases()[name]
    model, ((inputs, outputs),) = onnx.ModelProto.FromString(case.model.SerializeToString()), case.data_sets
    given = {item.name: value for item, value in zip(model.graph.input, inputs, strict=True)}
    weights = [item for item in model.graph.node[0].input[1:4] if item]
    model.graph.initializer.extend(onnx.numpy_helper.from_array(given.pop(item), item) for item in weights)
    for item in [item for item in model.graph.input if item.name in weights]:
        model.graph.input.remove(item)
    return model, given, outputs


@pytest.mark.parametrize("name", COMPUTED)
def test_onnxs_own_cases(emulator, name):
    model, given, wanted = with_stored_weights(name)
    made, notes = taken(model)
    assert notes == ("1 of 1 recurrent nodes became edgekit's operators",)
    for runner in (evaluator(made), emulated_evaluator(made, emulator)):
        for got, want in zip(runner.run(None, given), wanted, strict=True):
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_onnxs_own_case_that_is_left(name):
    made = recurrent_to_plugin(with_stored_weights(name)[0], lambda item: "")
    assert (made.modified, made.notes) == (False, ("LSTM '' stays as it is: it has peepholes",))


def silero_runs(run: Callable[[Arrays], list[np.ndarray]], rate: int, chunks: int) -> np.ndarray:
    """Four pieces of the call, chunk by chunk -> speech [4,chunks]; the state goes out and in again."""
    size, context = rate // 16000 * 256 + 256, rate // 250
    sound = call()[:: RATE // rate]
    sound = sound[: len(sound) // 4 * 4].reshape(4, -1)
    before, state, speech = np.zeros((4, context), np.float32), np.zeros((2, 4, 128), np.float32), []
    for chunk in range(chunks):
        new = sound[:, chunk * size : (chunk + 1) * size]
        x = np.concatenate([before, new], 1)
        made, state = run({"input": x, "state": state, "sr": np.array(rate)})
        before = x[:, -context:]
        speech.append(made)
    return np.concatenate(speech, 1)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["keep", "fp16"])
def test_silero_vads_own_file(emulator, weights):
    """An LSTM in each branch of an If in each branch of another one, which asks for the rate; at both rates."""
    model = onnx.load(folder("silero_vad") / "data/silero_vad.onnx")
    assert sum(node.op_type == "LSTM" for node in model.graph.node) == 0
    before = model.SerializeToString()
    made, notes = taken(model, weights)
    assert notes == ("4 of 4 recurrent nodes became edgekit's operators",)
    assert made.ByteSize() < len(before), "the weights are there once"
    session = plain_session(before)
    for rate in (16000, 8000):
        wanted = silero_runs(lambda feeds: session.run(None, feeds), rate, 24)
        assert 0.2 < np.mean(wanted > 0.5) < 0.98
        for runner in (evaluator(made), emulated_evaluator(made, emulator)):
            found = silero_runs(lambda feeds, runner=runner: runner.run(None, feeds), rate, 24)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 if weights == "keep" else 2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "weights"), [("model", "keep"), ("model", "fp16"), ("int8", "keep")])
def test_resemblyzer(resemblyzer, emulator, file, weights):
    """Three layers of 256 units over half a second of speech."""
    path = resemblyzer / f"{file}.onnx"
    model, notes = taken(onnx.load(path), weights)
    assert notes == ("3 of 3 recurrent nodes became edgekit's operators",)
    feeds = {"mels": few_pieces()[1]["mels"][::3, :50]}
    wanted = all_runs(plain_session(str(path)), [feeds])
    for runner in (evaluator(model), emulated_evaluator(model, emulator)):
        close(all_runs(runner, [feeds]), wanted, "int8" if file == "int8" else {"keep": "fp32"}.get(weights, weights))
