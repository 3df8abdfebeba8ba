"""Inputs of recurrent nodes weighed by their size: the same numbers, and less lost when the rows of W are rounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

onnx = pytest.importorskip("onnx")

from edgekit.quantize.observers import Channels, Seen, Statistics  # noqa: E402
from edgekit.quantize.recurrent import quantize_recurrent  # noqa: E402
from edgekit.quantize.weigh import factors_of, weigh  # noqa: E402
from tests.quantize.graphs import Arrays, copy_of, count, graph, node, run, same, seen, value, weights_of  # noqa: E402

T, N, I, H = 5, 2, 6, 4  # noqa: E741
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS = value("x", "time", "batch", I)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def bands(steps: int = T, seed: int = 1) -> Arrays:
    """Like the bands of a spectrogram: from 0.01 to 100."""
    return {"x": normal(steps, N, I, seed=seed) * np.geomspace(0.01, 100, I).astype(np.float32)}


def recurrent(kind: str, direction: str = "forward", name: str = "r", seed: int = 0) -> tuple[list, Arrays]:
    """`x` -> the last state `y_<name>` [D,N,H], small enough that no gate is shut; the weights of quiet inputs are
    large, as training makes them."""
    ends, rows = 2 if direction == "bidirectional" else 1, GATES[kind] * H
    size = 0.3 / np.geomspace(0.01, 100, I).astype(np.float32)
    weights = {
        f"W_{name}": normal(ends, rows, I, seed=seed) * size,
        f"R_{name}": normal(ends, rows, H, seed=seed + 1) / 3,
    }
    weights |= {f"B_{name}": normal(ends, 2 * rows, seed=seed + 2) / 3}
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    inputs = f"x W_{name} R_{name} B_{name}"
    return [node(kind, inputs, f"- y_{name}", name, hidden_size=H, direction=direction, **more)], weights


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", GATES)
def test_the_numbers_stay(kind, direction, power):
    nodes, weights = recurrent(kind, direction)
    model, feeds = graph(nodes, [STEPS], ["y_r"], weights), bands()
    changed = copy_of(model)
    weigh(changed, {"r"}, seen(model, feeds, x=-1), power)
    same(run(changed, feeds), run(model, feeds))
    (weighed,) = (array for key, array in weights_of(changed).items() if key.startswith("W_r_"))
    factors = weighed / weights["W_r"]
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:1, :1], factors.shape), rtol=1e-5)
    roots = np.sqrt(np.square(feeds["x"].astype(np.float64)).mean(axis=(0, 1)))
    np.testing.assert_allclose(factors[0, 0], roots**power / (roots**power).prod() ** (1 / I), rtol=1e-5)


@pytest.mark.parametrize("named", [{"p", "q"}, {"q"}, set()])
def test_two_that_share_an_input(named):
    """And another node that reads it; only those that are named change."""
    (nodes, weights), (more, others) = recurrent("LSTM", name="p"), recurrent("GRU", name="q", seed=7)
    made = [*nodes, *more, node("Abs", "x", "z")]
    model, feeds = graph(made, [STEPS], ["y_p", "y_q", "z"], weights | others), bands()
    changed = copy_of(model)
    weigh(changed, named, seen(model, feeds, x=-1), 0.75)
    same(run(changed, feeds), run(model, feeds))
    for before, after in zip(made, changed.graph.node, strict=False):
        assert (list(before.input[:2]) != list(after.input[:2])) == (after.name in named)
        assert before.input[2:] == after.input[2:]
    assert count(changed, "Mul") == len(named)


def test_one_weight_of_two_nodes_with_other_inputs():
    """Each gets a weight of its own."""
    made = [node("Mul", "x flat", "u")]
    made += [node("RNN", f"{name} W_r R_r B_r", f"- y_{name}", f"r_{name}", hidden_size=H) for name in "xu"]
    weights = recurrent("RNN")[1] | {"flat": 1 / np.geomspace(0.01, 100, I).astype(np.float32)}
    model, feeds = graph(made, [STEPS], ["y_x", "y_u"], weights), bands()
    changed = copy_of(model)
    weigh(changed, {"r_x", "r_u"}, seen(model, feeds, x=-1, u=-1), 1.0)
    assert len({item.input[1] for item in changed.graph.node if item.op_type == "RNN"} - {"W_r"}) == 2
    same(run(changed, feeds), run(model, feeds))


CHANNELS = Channels(1, *(np.ones(T, kind) for kind in (np.float32, np.float32, float, float)), 1)


@pytest.mark.parametrize("tensors", [{}, {"x": Seen(2.0)}, {"x": Seen(2.0, None, CHANNELS)}])
def test_what_was_not_seen_by_its_last_axis_stays(tensors):
    nodes, weights = recurrent("LSTM")
    model = graph(nodes, [STEPS], ["y_r"], weights)
    changed = copy_of(model)
    weigh(changed, {"r"}, Statistics(tensors), 0.5)
    assert changed == model


def test_a_weight_that_is_no_constant_stays():
    nodes, weights = recurrent("LSTM")
    nodes[0].input[1] = "W_abs"
    model = graph([node("Abs", "W_r", "W_abs"), *nodes], [STEPS], ["y_r"], weights)
    changed = copy_of(model)
    weigh(changed, {"r"}, seen(model, bands(), x=-1), 0.5)
    assert changed == model


@pytest.mark.parametrize("silent", [[2], range(I)])
def test_an_input_that_is_always_zero(silent):
    nodes, weights = recurrent("LSTM")
    model, feeds = graph(nodes, [STEPS], ["y_r"], weights), bands()
    feeds["x"][..., silent] = 0
    changed = copy_of(model)
    weigh(changed, {"r"}, seen(model, feeds, x=-1), 1.0)
    same(run(changed, feeds), run(model, feeds))
    for array in weights_of(changed).values():
        assert np.isfinite(array).all()


@given(
    arrays.arrays(np.float64, 5, elements=st.floats(0, 1e30)),
    st.integers(1, 10**9),
    st.sampled_from([0.5, 0.75, 1.0]),
)
def test_factors_are_finite_and_their_geometric_mean_is_one(squares, count, power):
    none = np.zeros(5, np.float32)
    found = factors_of(Channels(-1, none, none, none.astype(float), squares, count), power)
    assert (found > 0).all()
    assert np.exp(np.log(found.astype(np.float64)).mean()) == pytest.approx(1, rel=1e-4)
    assert found.max() / found.min() <= 1e4 * 1.001
    order = np.argsort(squares)
    assert (np.diff(found[order]) >= 0).all()


def test_int8_weights_lose_less():
    """Weights that are all alike: the error of those that meet the loudest input is all that counts."""
    nodes, weights = recurrent("LSTM")
    weights["W_r"] = 0.01 * normal(1, 4 * H, I)
    model, calibration, held_out = graph(nodes, [STEPS], ["y_r"], weights), bands(50), bands(50, seed=9)
    wanted = run(model, held_out)["y_r"]

    def error(power: float | None) -> float:
        changed = copy_of(model)
        if power is not None:
            weigh(changed, {"r"}, seen(model, calibration, x=-1), power)
        changed.opset_import[0].version = 21
        made = quantize_recurrent(changed, {"r"}).model
        return float(np.square(run(made, held_out)["y_r"] - wanted).mean())

    assert error(0.5) < error(None) / 4, "6 dB"
