"""SmoothQuant: the same numbers from smoother activations, by the paper's factors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

onnx = pytest.importorskip("onnx")

from edgekit.quantize.int8 import Form, insert_qdq  # noqa: E402
from edgekit.quantize.observers import Seen, Statistics  # noqa: E402
from edgekit.quantize.smooth import can_smooth, factors_of, smooth  # noqa: E402
from tests.quantize.graphs import (  # noqa: E402
    Arrays,
    copy_of,
    count,
    graph,
    layers_of,
    node,
    run,
    same,
    seen,
    value,
    weights_of,
)

INT64 = onnx.TensorProto.INT64
I, O = 6, 5  # noqa: E741


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def loud(*shape: int, seed: int = 1) -> np.ndarray:
    """Channels from 1/100 to 100: what SmoothQuant is for."""
    return normal(*shape, seed=seed) * np.geomspace(0.01, 100, shape[-1]).astype(np.float32)


STEPS = value("x", "batch", "time", I)
ROWS = value("x", "batch", I)
NORM = node("LayerNormalization", "x g b", "n")
GAIN = {"g": np.geomspace(0.01, 100, I).astype(np.float32), "b": loud(I)}


def product() -> tuple[onnx.ModelProto, Arrays]:
    return graph([node("MatMul", "x w", "y")], [STEPS], ["y"], {"w": normal(I, O)}), {"x": loud(2, 3, I)}


def gemm(turned: int, third: str = "c", **attributes: float) -> tuple[onnx.ModelProto, Arrays]:
    weights = {"w": normal(*((O, I) if turned else (I, O))), "c": normal(O, seed=2)}
    made = [node("Gemm", f"x w {third}", "y", transB=turned, **attributes)]
    return graph(made, [ROWS], ["y"], weights), {"x": loud(4, I)}


def several() -> tuple[onnx.ModelProto, Arrays]:
    """Two products and another node read one tensor; another product another one."""
    made = [
        node("MatMul", "x v", "a"),
        node("MatMul", "x w", "b"),
        node("Relu", "x", "c"),
        node("MatMul", "c u", "d"),
    ]
    weights = {"v": normal(I, 3), "w": 10 * normal(I, O, seed=1), "u": normal(I, 2, seed=2)}
    return graph(made, [STEPS], "abcd", weights), {"x": loud(2, 3, I)}


def norm(*more, outputs: str = "y", norms=(NORM,), last: str = "MatMul", **weights) -> tuple[onnx.ModelProto, Arrays]:
    """LayerNormalization, then a product; and `more`."""
    made = [*norms, node(last, "n w", "y"), *more]
    rows = STEPS if last == "MatMul" else ROWS
    shape = (2, 3, I) if last == "MatMul" else (4, I)
    return graph(made, [rows], outputs.split(), {"w": normal(I, O)} | GAIN | weights), {"x": normal(*shape)}


def in_a_branch() -> tuple[onnx.ModelProto, Arrays]:
    def branch(name: str) -> onnx.GraphProto:
        return onnx.helper.make_graph([node("Abs", "n", name)], name, [], [value(name, "batch", "time", I)])

    choose = node("If", "go", "z", then_branch=branch("p"), else_branch=branch("q"))
    return norm(choose, outputs="y z", go=np.array(True))


def own_bias() -> tuple[onnx.ModelProto, Arrays]:
    """The Gemm reads the tensor twice."""
    made = [NORM, node("Gemm", "n w n", "y")]
    return graph(made, [ROWS], ["y"], {"w": normal(I, I)} | GAIN), {"x": normal(4, I)}


def tied() -> tuple[onnx.ModelProto, Arrays]:
    """One table makes the rows and reads them out."""
    made = [node("Gather", "w ids", "x"), NORM, node("Gemm", "n w", "y", transB=1)]
    return graph(made, [value("ids", "batch", dtype=INT64)], ["y"], {"w": loud(9, I)} | GAIN), {"ids": np.arange(7)}


def two_norms() -> tuple[onnx.ModelProto, Arrays]:
    """They share scale and bias, and only one of them makes what a product reads."""
    made = [NORM, node("MatMul", "n w", "y"), node("LayerNormalization", "y g b", "z")]
    return graph(made, [STEPS], "yz", {"w": normal(I, I)} | GAIN), {"x": normal(2, 3, I)}


def two_norms_smoothed() -> tuple[onnx.ModelProto, Arrays]:
    """They share scale and bias, and each gets factors of its own."""
    made = [
        NORM,
        node("MatMul", "n w", "m"),
        node("LayerNormalization", "m g b", "o"),
        node("MatMul", "o v", "y"),
    ]
    weights = {"w": normal(I, I), "v": loud(I, I).T.copy()} | GAIN
    return graph(made, [STEPS], ["y"], weights), {"x": normal(2, 3, I)}


COMPUTED = (node("Abs", "g", "g1"), node("LayerNormalization", "x g1 b", "n"))
BY_TWO_AXES = node("LayerNormalization", "x g2", "n", axis=1)
# By name: the model, and how many Mul are needed; where there is none, the norm has taken the factors.
CASES: dict[str, tuple[Callable[[], tuple[onnx.ModelProto, Arrays]], int]] = {
    "product": (product, 1),
    "gemm": (lambda: gemm(0), 1),
    "gemm, turned": (lambda: gemm(1), 1),
    "gemm, scaled": (lambda: gemm(1, alpha=0.5, beta=2.0), 1),
    "several": (several, 2),
    "norm": (norm, 0),
    "norm, no bias": (lambda: norm(norms=(node("LayerNormalization", "x g", "n"),)), 0),
    "norm, gemm": (lambda: norm(last="Gemm"), 0),
    "norm, read by two": (lambda: norm(node("MatMul", "n v", "z"), outputs="y z", v=normal(I, 2, seed=3)), 0),
    "norm, read elsewhere": (lambda: norm(node("Relu", "n", "z"), outputs="y z"), 1),
    "norm, an output": (lambda: norm(outputs="y n"), 1),
    "norm, read in a branch": (in_a_branch, 1),
    "norm, read as the bias": (own_bias, 1),
    "norm, computed scale": (lambda: norm(norms=COMPUTED), 1),
    "norm, over two axes": (lambda: norm(norms=(BY_TWO_AXES,), g2=normal(3, I)), 1),
    "tied": (tied, 0),
    "two norms": (two_norms, 0),
    "two norms, smoothed": (two_norms_smoothed, 0),
}


def smoothed(model: onnx.ModelProto, feeds: Arrays, alpha: float = 0.5):
    """A smoothed copy, its layers, and what is said to be seen of their inputs."""
    changed, layers = copy_of(model), layers_of(model)
    return changed, smooth(changed, layers, seen(model, feeds), alpha, layers)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.85, 1.0])
@pytest.mark.parametrize("name", CASES)
def test_the_numbers_stay(name, alpha):
    make, products = CASES[name]
    model, feeds = make()
    changed, found = smoothed(model, feeds, alpha)
    same(run(changed, feeds), run(model, feeds))
    assert count(changed, "Mul") == products
    before = {layer.node: layer for layer in layers_of(model)}
    for layer in found.layers:
        assert layer.weight != before[layer.node].weight
        assert (layer.activation == before[layer.node].activation) == (products == 0)
    assert found.layers == layers_of(changed), "what is said of the layers is what they read"
    for key, array in weights_of(model).items():
        np.testing.assert_array_equal(weights_of(changed)[key], array, "others may read it")


@pytest.mark.parametrize("name", CASES)
def test_what_will_be_seen_is_known_beforehand(name):
    model, feeds = CASES[name][0]()
    changed, found = smoothed(model, feeds)
    real = seen(changed, feeds)
    for layer in found.layers:
        said, true = (item.tensors[layer.activation] for item in (found.statistics, real))
        assert said.largest == pytest.approx(true.largest, rel=1e-5)
        assert (said.channels.axis, said.channels.count) == (true.channels.axis, true.channels.count)
        for part in ("largest", "total", "squares"):
            wanted = getattr(true.channels, part)
            np.testing.assert_allclose(getattr(said.channels, part), wanted, rtol=1e-4, atol=1e-6 * said.largest)
        assert said.histogram is None, "another tensor's histogram would give a wrong range"


POSITIVE = st.floats(2**-16, 2**20, width=32)


@given(
    arrays.arrays(np.float32, 4, elements=POSITIVE),
    arrays.arrays(np.float32, (2, 4), elements=POSITIVE),
    st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]),
)
def test_the_factors_are_the_papers(activations, rows, alpha):
    """Equation 4: s_i = max|x_i|^alpha / max|w_i|^(1 - alpha), here with a geometric mean of 1."""
    found = factors_of(activations, list(rows), alpha).astype(np.float64)
    largest, weight = activations.astype(np.float64), rows.astype(np.float64).max(axis=0)
    formula = largest**alpha / weight ** (1 - alpha)
    wanted = formula / formula.prod() ** (1 / 4)
    np.testing.assert_allclose(found, np.maximum(wanted, 1e-3), rtol=1e-5)


def test_what_is_always_zero_leaves_the_others_their_share():
    found = factors_of(np.array([0, 1, 1, 100], np.float32), [np.array([1, 0, 1, 1], np.float32)], 0.5)
    assert np.isfinite(found).all()
    assert found.min() >= 1e-3
    assert found[3] / found[2] == pytest.approx(10, rel=1e-5)


def test_the_weights_of_all_readers_count_and_turned_ones_by_the_right_axis():
    """By hand: alpha 0, so that s follows from the weights alone; the row of input 0 is 8 in the second Gemm."""
    first, second = np.eye(2, dtype=np.float32), np.array([[8, 0], [1, 0.5], [1, 0]], np.float32)
    made = [node("Gemm", "x w", "y"), node("Gemm", "x v", "z", transB=1)]
    model = graph(made, [value("x", "batch", 2)], "yz", {"w": first, "v": second})
    feeds = {"x": np.array([[1, 2]], np.float32)}
    changed, found = smoothed(model, feeds, 0.0)
    # max over rows: input 0: max(1, 8) = 8, input 1: max(1, 0.5) = 1; s = (1/8, 1) / sqrt(1/8).
    s = np.array([1 / 8, 1]) * np.sqrt(8)
    weights = weights_of(changed)
    np.testing.assert_allclose(weights[found.layers[0].weight], first * s[:, None], rtol=1e-6)
    np.testing.assert_allclose(weights[found.layers[1].weight], second * s[None, :], rtol=1e-6)
    (by,) = (array for key, array in weights.items() if key.endswith("_by"))
    np.testing.assert_allclose(by, 1 / s, rtol=1e-6)


@pytest.mark.parametrize("kept", ["a", "b"])
def test_a_kept_reader_changes_nothing_for_the_others(kept):
    model, feeds = several()
    layers = layers_of(model)
    whole, everything = smoothed(model, feeds)
    partly = copy_of(model)
    some = smooth(partly, [item for item in layers if item.node != kept], seen(model, feeds), 0.5, layers)
    same(run(partly, feeds), run(model, feeds))
    for layer in some.layers:
        other = next(item for item in everything.layers if item.node == layer.node)
        np.testing.assert_array_equal(weights_of(partly)[layer.weight], weights_of(whole)[other.weight])
        assert (
            some.statistics.tensors[layer.activation].largest == everything.statistics.tensors[other.activation].largest
        )
    before = next(item for item in model.graph.node if item.name == kept)
    assert next(item for item in partly.graph.node if item.name == kept) == before


def test_a_kept_reader_of_a_norm_sends_the_others_through_a_product():
    model, feeds = CASES["norm, read by two"][0]()
    layers = layers_of(model)
    changed = copy_of(model)
    found = smooth(changed, layers[:1], seen(model, feeds), 0.5, layers)
    assert count(changed, "Mul") == 1
    same(run(changed, feeds), run(model, feeds))
    weight = weights_of(changed)[found.layers[0].weight]
    whole, everything = smoothed(model, feeds)
    np.testing.assert_array_equal(weight, weights_of(whole)[everything.layers[0].weight])


def stays(model: onnx.ModelProto, statistics: Statistics) -> None:
    changed, layers = copy_of(model), layers_of(model)
    found = smooth(changed, layers, statistics, 0.5, layers)
    assert found.layers == layers
    assert changed == model
    assert found.statistics == statistics


def test_other_layers_stay():
    made = [node("Conv", "x k", "y"), node("MatMul", "x w", "z")]
    weights = {"k": normal(3, 2, 1, 1), "w": normal(2, 4, 3)}
    model = graph(made, [value("x", "batch", 2, 4, 4)], "yz", weights)
    assert [can_smooth(layer, model) for layer in layers_of(model)] == [False, False]
    stays(model, seen(model, {"x": normal(1, 2, 4, 4)}))


@pytest.mark.parametrize("first", ["Conv", "MatMul"])
def test_a_convolution_looks_at_other_channels(first):
    """[N,C,L] with C = L: factors of the wrong axis would fit without a word."""
    made = [node("Conv", "x k", "y"), node("MatMul", "x w", "z")]
    model = graph(made[:: 1 if first == "Conv" else -1], [value("x", "batch", 4, 4)], "yz",
                  {"k": normal(3, 4, 1), "w": normal(4, 2)})  # fmt: skip
    feeds = {"x": loud(2, 4, 4)}
    stays(model, seen(model, feeds, x=1))
    changed, layers = copy_of(model), layers_of(model)
    found = smooth(changed, layers, seen(model, feeds, x=-1), 0.5, layers)
    assert [layer.op_type for layer in found.layers if layer.activation != "x"] == ["MatMul"]
    same(run(changed, feeds), run(model, feeds))


def test_what_was_not_seen_stays():
    model, _ = product()
    stays(model, Statistics({"x": Seen()}))
    stays(model, Statistics({"x": Seen(3.0)}))


def test_int8_of_smoothed_digits_is_nearer():
    """The last layer of a digit classifier, whose inputs were made unequal: 8 bits lose less after smoothing."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn's digits are the data")
    from sklearn.linear_model import LogisticRegression

    images, labels = datasets.load_digits(return_X_y=True)
    images = images[:, images.std(axis=0) > 0.5].astype(np.float32)
    trained = LogisticRegression(max_iter=5000).fit(images[:1000] / 16, labels[:1000])
    unequal = np.random.default_rng(0).lognormal(sigma=2, size=images.shape[1]).astype(np.float32)
    weight = (trained.coef_.T / 16).astype(np.float32) / unequal[:, None]
    model = graph([node("MatMul", "x w", "y")], [value("x", "batch", len(weight))], ["y"], {"w": weight})
    calibration, held_out = {"x": images[:1000] * unequal}, {"x": images[1000:] * unequal}
    wanted = run(model, held_out)["y"]

    def error(alpha: float | None) -> float:
        changed, layers, statistics = copy_of(model), layers_of(model), seen(model, calibration)
        if alpha is not None:
            found = smooth(changed, layers, statistics, alpha, layers)
            layers, statistics = found.layers, found.statistics
        levels = {layer.node: Form().weight(weights_of(changed)[layer.weight], layer.axis) for layer in layers}
        ranges = {name: item.largest for name, item in statistics.tensors.items()}
        quantized = insert_qdq(changed, layers, ranges, levels).model
        return float(np.square(run(quantized, held_out)["y"] - wanted).mean())

    plain, smoother = error(None), error(0.5)
    assert smoother < plain / 100, "20 dB"
