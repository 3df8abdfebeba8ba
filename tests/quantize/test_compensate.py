"""Which weights GPTQ rounds, and on what they are rounded: above all the states of recurrent nodes, by NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.data import Samples  # noqa: E402
from edgekit.quantize.choice import Choice, Subject, Unit  # noqa: E402
from edgekit.quantize.compensate import with_gptq  # noqa: E402
from edgekit.quantize.gptq8 import gptq_levels  # noqa: E402
from edgekit.quantize.int8 import Form  # noqa: E402
from edgekit.quantize.recurrent import quantizable_recurrent  # noqa: E402
from edgekit.quantize.scales import quantize_rows  # noqa: E402
from edgekit.reports import no_progress  # noqa: E402
from tests.quantize.graphs import Arrays, graph, layers_of, node, run, seen, value, weights_of  # noqa: E402

T, N, I, H = 40, 6, 12, 10  # noqa: E741
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
GPTQ = Choice(weights="gptq")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def sequences(inputs: int = I, seed: int = 1) -> Arrays:
    """Inputs that go together."""
    return {"x": normal(T, N, inputs, seed=seed) @ normal(inputs, inputs, seed=5)}


def subject_of(model: onnx.ModelProto, feeds: Arrays, form: Form = Form()) -> Subject:
    nodes = quantizable_recurrent(model, ())[0]
    units = tuple(Unit(item.name, item.op_type) for item in nodes)
    axes = {item.input[0]: -1 for item in nodes}
    return Subject(model, tuple(layers_of(model)), units, (), seen(model, feeds, **axes), form)


def stream_of(feeds: Arrays):
    """In two batches, along the axis of samples."""
    halves = [{"x": feeds["x"][:, : N // 2]}, {"x": feeds["x"][:, N // 2 :]}]
    return lambda: iter([Samples(np.arange(N // 2), half) for half in halves])


def recurrent(kind: str, direction: str, outputs: str = "steps", inputs: int = I, hidden: int = H) -> onnx.ModelProto:
    """The directions are made unlike: the first one's states are near 1, the other's small and of both signs."""
    ends, rows = 2 if direction == "bidirectional" else 1, GATES[kind] * hidden
    bias = normal(ends, 2 * rows, seed=3)
    bias[0] = np.abs(bias[0]) + 1
    weights = {"W": normal(ends, rows, inputs) / 5, "R": normal(ends, rows, hidden, seed=2) / 5, "B": bias}
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    made = [node(kind, "x W R B", outputs, "r", hidden_size=hidden, direction=direction, **more)]
    named = [name for name in outputs.split() if name != "-"]
    return graph(made, [value("x", "time", "batch", inputs)], named, weights, 21)


def states(x: np.ndarray, weights: Arrays, end: int, backwards: bool) -> np.ndarray:
    """All states [T,N,H] of one direction of an RNN, in float64."""
    w, r = (weights[name][end].astype(float) for name in "WR")
    bias = weights["B"][end].reshape(2, -1).sum(axis=0)
    state, found = np.zeros((x.shape[1], len(r))), []
    for step in x[::-1] if backwards else x:
        state = np.tanh(step @ w.T + state @ r.T + bias)
        found.append(state)
    return np.array(found)


def moments_of(x: np.ndarray) -> np.ndarray:
    rows = x.reshape(-1, x.shape[-1]).astype(float)
    return rows.T @ rows / len(rows)


def levels_of(weight: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """[GH,I], rounded for inputs of these moments."""
    return gptq_levels(weight.T.copy(), moments, quantize_rows(weight)[1][:, 0]).T


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_each_direction_of_a_recurrent_node_is_rounded_for_its_own_states(direction):
    model, feeds = recurrent("RNN", direction), sequences()
    weights = weights_of(model)
    found = with_gptq(subject_of(model, feeds), GPTQ, stream_of(feeds), no_progress)
    assert found.rounded.keys() == {("r", 1), ("r", 2)}
    for index, name in ((1, "W"), (2, "R")):
        levels, scale = found.rounded["r", index]
        assert (levels.dtype, levels.shape) == (np.int8, weights[name].shape)
        np.testing.assert_array_equal(scale, quantize_rows(weights[name])[1])
    ends = [states(feeds["x"], weights, end, direction == "reverse" or end == 1) for end in range(len(weights["R"]))]
    for end, own in enumerate(ends):
        assert (found.rounded["r", 1][0][end] == levels_of(weights["W"][end], moments_of(feeds["x"]))).mean() > 0.98
        assert (found.rounded["r", 2][0][end] == levels_of(weights["R"][end], moments_of(own))).mean() > 0.98
    if direction == "bidirectional":
        swapped = levels_of(weights["R"][0], moments_of(ends[1]))
        assert (found.rounded["r", 2][0][0] == swapped).mean() < 0.9, "else the two directions are too much alike"


@pytest.mark.parametrize("outputs", ["steps last", "- last"])
@pytest.mark.parametrize("kind", GATES)
def test_a_node_whose_states_no_one_reads(kind, outputs):
    """They are measured all the same, and the model itself does not change."""
    model, feeds = recurrent(kind, "bidirectional", outputs), sequences()
    subject = subject_of(model, feeds)
    before = model.SerializeToString()
    found = with_gptq(subject, GPTQ, stream_of(feeds), no_progress)
    assert found.rounded.keys() == {("r", 1), ("r", 2)}
    assert model.SerializeToString() == before
    wanted = with_gptq(subject_of(recurrent(kind, "bidirectional"), feeds), GPTQ, stream_of(feeds), no_progress)
    for key, (levels, _) in found.rounded.items():
        np.testing.assert_array_equal(levels, wanted.rounded[key][0])


@pytest.mark.parametrize("kind", GATES)
def test_less_is_lost(kind):
    """Of the states, on sequences that were not seen: inputs go together, and 8 bits then err by less."""
    model, feeds, unseen = recurrent(kind, "bidirectional"), sequences(), sequences(seed=9)
    subject = with_gptq(subject_of(model, feeds), GPTQ, stream_of(feeds), no_progress)
    wanted = run(model, unseen)["steps"]

    def error(choice: Choice) -> float:
        return float(np.square(run(subject.quantized(choice), unseen)["steps"] - wanted).mean())

    assert error(GPTQ) < 0.75 * error(Choice())


def test_inputs_that_are_weighed_are_measured_weighed():
    model, feeds = recurrent("RNN", "forward"), sequences()
    feeds["x"] *= np.geomspace(0.01, 10, I).astype(np.float32)
    choice = Choice(weigh=0.5, weights="gptq")
    subject = subject_of(model, feeds)
    found = with_gptq(subject, choice, stream_of(feeds), no_progress)
    prepared = weights_of(subject.prepared(choice).model)
    (weighed,) = (array for name, array in prepared.items() if name.startswith("W_"))
    by = weighed[0, 0] / weights_of(model)["W"][0, 0]
    assert by.max() > 10 * by.min()
    wanted = levels_of(weighed[0], moments_of(feeds["x"] / by))
    assert (found.rounded["r", 1][0][0] == wanted).mean() > 0.98


def test_narrow_weights_stay():
    model, feeds = recurrent("RNN", "forward", inputs=1), {"x": normal(T, N, 1)}
    found = with_gptq(subject_of(model, feeds), GPTQ, stream_of(feeds), no_progress)
    assert found.rounded.keys() == {("r", 2)}
    assert run(found.quantized(GPTQ), feeds)["steps"].shape == (T, 1, N, H)


def test_only_products_with_a_weight_of_two_axes():
    made = [node("Conv", "x k", "c"), node("MatMul", "c w", "m"), node("MatMul", "m s", "y")]
    weights = {"k": normal(4, 3, 1), "w": normal(I, 8), "s": normal(1, 8, 5)}
    model = graph(made, [value("x", "batch", 3, I)], ["y"], weights)
    feeds = {"x": normal(20, 3, I) @ normal(I, I, seed=5)}
    stream = lambda: iter([Samples(np.arange(20), feeds)])  # noqa: E731
    found = with_gptq(subject_of(model, feeds), GPTQ, stream, no_progress)
    assert found.rounded.keys() == {("m", 1)}
    hidden = np.einsum("oi,nil->nol", weights["k"][..., 0], feeds["x"])
    wanted = gptq_levels(weights["w"], moments_of(hidden), found.rounded["m", 1][1])
    assert (found.rounded["m", 1][0] == wanted).mean() > 0.98
    for form in (Form(per_channel=False), Form(float8=True, half=True)):
        assert with_gptq(subject_of(model, feeds, form), GPTQ, stream, no_progress) is None
    assert with_gptq(replace(subject_of(model, feeds), layers=()), GPTQ, stream, no_progress) is None
