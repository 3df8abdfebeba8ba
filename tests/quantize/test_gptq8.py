"""INT8 by GPTQ against its definition in float64, every rounding of tiny weights, and on real digits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.data import Samples  # noqa: E402
from edgekit.quantize import gptq8  # noqa: E402
from edgekit.quantize.gptq8 import Product, gptq_int8, gptq_levels  # noqa: E402
from edgekit.quantize.scales import quantize_weight  # noqa: E402
from edgekit.reports import no_progress  # noqa: E402
from tests.quantize.graphs import graph, node, value  # noqa: E402


def moments_of(x: np.ndarray) -> np.ndarray:
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    return rows.T @ rows / len(rows)


def correlated(inputs: int, seed: int = 0) -> np.ndarray:
    """Second moments of inputs that go together, some strong and some weak."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(inputs, inputs)) @ np.diag(random.lognormal(sigma=1.5, size=inputs))
    return moments_of(random.normal(size=(50 * inputs, inputs)) @ mixing)


def damped(moments: np.ndarray) -> np.ndarray:
    """What the method works with: see `factor_of`."""
    return moments + 0.01 * np.diag(moments).mean() * np.eye(len(moments))


def errors(weight: np.ndarray, levels: np.ndarray, scale: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """E |x (W - Wq)|^2 of each output, [O]."""
    lost = weight.astype(np.float64) - levels * scale.astype(np.float64)
    return np.einsum("io,ij,jo->o", lost, moments, lost)


def normal(inputs: int, outputs: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(inputs, outputs)).astype(np.float32)


@pytest.mark.parametrize("inputs", [2, 3, 4])
def test_between_the_best_of_all_roundings_and_plain_rounding(inputs):
    """Every level up to two beside the plain one is looked at; what is made up for may lie further off."""
    steps = np.array(list(itertools.product(range(-2, 3), repeat=inputs)), np.float64)
    best = found = plain = 0.0
    for seed in range(40):
        weight, moments = normal(inputs, 3, seed), correlated(inputs, seed)
        levels, scale = quantize_weight(weight, 1)
        made = errors(weight, gptq_levels(weight, moments, scale), scale, moments) / np.trace(moments)
        lost = weight[:, None].astype(float) - (levels[:, None] + steps.T[..., None]) * scale
        least = np.einsum("ino,ij,jno->no", lost, moments, lost).min(axis=0) / np.trace(moments)
        best, found = best + np.minimum(least, made).sum(), found + made.sum()
        plain += errors(weight, levels, scale, moments).sum() / np.trace(moments)
    assert found < 0.8 * plain
    assert found < 1.5 * best


def test_of_two_inputs_the_second_makes_the_best_of_it():
    """The first is rounded as by itself, so that no other level of the second is better: never worse than plainly."""
    for seed in range(100):
        weight, moments = normal(2, 20, seed), correlated(2, seed)
        levels, scale = quantize_weight(weight, 1)
        found = errors(weight, gptq_levels(weight, moments, scale), scale, damped(moments))
        assert (found <= errors(weight, levels, scale, damped(moments)) * (1 + 1e-4)).all()


def test_without_correlation_it_is_plain_rounding():
    weight = normal(300, 40)
    levels, scale = quantize_weight(weight, 1)
    moments = np.diag(np.random.default_rng(1).lognormal(sigma=2, size=300))
    np.testing.assert_array_equal(gptq_levels(weight, moments, scale), levels)
    np.testing.assert_array_equal(gptq_levels(weight, np.zeros((300, 300)), scale), levels)


def textbook(weight: np.ndarray, moments: np.ndarray, scale: np.ndarray, bound: float = 127) -> np.ndarray:
    """Round input after input, the strongest first; those left make up for it exactly, by the inverse of their part
    of H.

    Source: Frantar and Alistarh, "Optimal Brain Compression", arXiv 2208.11580: the update that GPTQ does faster.
    """
    order = np.argsort(-np.diag(moments), kind="stable")
    left, ordered = weight[order].astype(np.float64), damped(moments)[np.ix_(order, order)]
    levels = np.empty(weight.shape)
    for index in range(len(left)):
        levels[order[index]] = np.clip(np.rint(left[index] / scale), -bound, bound)
        lost = left[index] - levels[order[index]] * scale
        inverse = np.linalg.inv(ordered[index:, index:])
        left[index:] -= np.outer(inverse[:, 0] / inverse[0, 0], lost)
    return levels


@pytest.mark.parametrize("inputs", [5, 40, 140])  # rounded in blocks of 128
def test_it_is_the_textbooks(inputs):
    weight, moments = normal(inputs, 30), correlated(inputs)
    _, scale = quantize_weight(weight, 1)
    same = gptq_levels(weight, moments, scale) == textbook(weight, moments, scale)
    assert same.all(axis=0).mean() > 0.9, "a tie in float32 may send an output another way"


@pytest.mark.parametrize("lazy", [1, 7, 64, 1000])
def test_blocks_are_for_speed_alone(lazy, monkeypatch):
    weight, moments = normal(300, 40), correlated(300)
    _, scale = quantize_weight(weight, 1)
    wanted = gptq_levels(weight, moments, scale)
    monkeypatch.setattr(gptq8, "_LAZY", lazy)
    found = gptq_levels(weight, moments, scale)
    # Sums in another order may tip a tie, and all that follows it.
    assert (found == wanted).mean() > 0.95
    lost = errors(weight, found, scale, moments).sum()
    assert lost == pytest.approx(errors(weight, wanted, scale, moments).sum(), rel=0.01)


def test_no_level_is_beyond_127():
    """What the loud input loses, 0.4 of a step, takes the quiet one that goes with it levels that do not exist."""
    loud = np.array([10, 1, 0.5])
    moments = np.outer(loud, loud) + 1e-3 * np.eye(3)
    weight = np.array([[100.4, -100.4], [127, -127], [60, 60]], np.float32) / 127
    _, scale = quantize_weight(weight, 1)
    assert np.abs(textbook(weight, moments, scale, np.inf)).max() > 129, "else nothing is bounded here"
    found = gptq_levels(weight, moments, scale)
    assert found.dtype == np.int8
    assert found[1].tolist() == [127, -127]
    np.testing.assert_array_equal(found, textbook(weight, moments, scale))


def test_the_given_arrays_stay_as_they_are():
    weight, moments = normal(200, 8), correlated(200)
    kept = weight.copy(), moments.copy()
    gptq_levels(weight, moments, quantize_weight(weight, 1)[1])
    np.testing.assert_array_equal(weight, kept[0])
    np.testing.assert_array_equal(moments, kept[1])


def test_on_real_digits():
    """Weights that were trained on the digits, inputs that calibration did not see."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn's digits are the data")
    from sklearn.linear_model import LogisticRegression

    images, labels = datasets.load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    trained = LogisticRegression(max_iter=2000).fit(images[:1000], labels[:1000])
    weight = np.ascontiguousarray(trained.coef_.T.astype(np.float32))
    levels, scale = quantize_weight(weight, 1)
    unseen = moments_of(images[1000:])
    found = gptq_levels(weight, moments_of(images[:1000]), scale)
    gain = errors(weight, levels, scale, unseen).sum() / errors(weight, found, scale, unseen).sum()
    assert 10 * np.log10(gain) > 3


I, M, O = 12, 9, 5  # noqa: E741
WEIGHTS = {"v": normal(I, M), "w": normal(M, O, seed=1), "u": normal(O, O, seed=2), "s": normal(I, O, seed=3)}
X = (np.random.default_rng(4).normal(size=(30, I)) @ np.random.default_rng(5).normal(size=(I, I))).astype(np.float32)


class Stream:
    """The rows of X in three batches, and how often they were asked for."""

    def __init__(self) -> None:
        self.read = 0

    def __call__(self):
        self.read += 1
        yield from (Samples(np.arange(10), {"x": X[start : start + 10]}) for start in (0, 10, 20))


def chain(turned: bool = False) -> tuple[onnx.ModelProto, list[Product]]:
    """x -> v -> Relu h -> w -> u -> y, and x -> s -> z; listed in no order."""
    made = [
        node("Gemm", "x v", "m", "first", transB=int(turned)),
        node("Relu", "m", "h"),
        node("Gemm", "h w", "n", "second", transB=int(turned)),
        node("Gemm", "n u", "y", "third", transB=int(turned)),
        node("Gemm", "x s", "z", "side", transB=int(turned)),
    ]
    weights = {name: np.ascontiguousarray(array.T) if turned else array for name, array in WEIGHTS.items()}
    model = graph(made, [value("x", "batch", I)], "yz", weights)
    order = (("first", "v", "x"), ("second", "w", "h"), ("third", "u", "n"), ("side", "s", "x"))
    return model, [Product(name, 1, weight, tensor, turned) for name, weight, tensor in order]


def rounded(turned: bool = False, stream: Stream | None = None, half: bool = False):
    model, products = chain(turned)
    return gptq_int8(model, products, stream or Stream(), no_progress, half=half)


def test_each_product_is_rounded_for_its_own_input():
    hidden = np.maximum(X.astype(float) @ WEIGHTS["v"], 0)
    inputs = {"first": X, "second": hidden, "third": hidden @ WEIGHTS["w"], "side": X}
    found = rounded()
    assert found.keys() == {(name, 1) for name in inputs}
    for (name, _), (levels, scale) in found.items():
        weight = WEIGHTS[{"first": "v", "second": "w", "third": "u", "side": "s"}[name]]
        plain, step = quantize_weight(weight, 1)
        np.testing.assert_array_equal(scale, step)
        assert (levels == gptq_levels(weight, moments_of(inputs[name]), step)).mean() > 0.95
        assert (levels != plain).any()


def test_turned_weights_are_rounded_alike():
    for key, (levels, scale) in rounded(turned=True).items():
        straight = rounded()[key]
        np.testing.assert_array_equal(levels, straight[0].T)
        np.testing.assert_array_equal(scale, straight[1])
        assert levels.flags.c_contiguous


def test_half_puts_scales_on_the_grid_of_fp16():
    for levels, scale in rounded(half=True).values():
        np.testing.assert_array_equal(scale, scale.astype(np.float16))
        assert np.abs(levels.astype(int)).max() <= 127
    assert any((scale != scale.astype(np.float16)).any() for _, scale in rounded().values())


@pytest.mark.parametrize(("limit", "passes"), [(1, 4), (8 * (I * I + M * M), 2), (1 << 28, 1)])
def test_moments_that_do_not_fit_together_take_another_pass(limit, passes, monkeypatch):
    """They are those of x (12 inputs), h (9), n (5), and x again where it was let go in between."""
    wanted = rounded()
    monkeypatch.setattr(gptq8, "_BYTES_A_PASS", limit)
    stream = Stream()
    found = rounded(stream=stream)
    assert stream.read == passes
    assert found.keys() == wanted.keys()
    for key, (levels, scale) in found.items():
        np.testing.assert_array_equal(levels, wanted[key][0])
        np.testing.assert_array_equal(scale, wanted[key][1])


def test_products_of_one_tensor_are_measured_together(monkeypatch):
    monkeypatch.setattr(gptq8, "_BYTES_A_PASS", 1)
    model, (first, second, third, side) = chain()
    stream, told = Stream(), []
    gptq_int8(model, [first, side, second, third], stream, lambda *what: told.append(what), half=False)
    assert stream.read == 3
    rounding = [(done, total) for what, done, total in told if what == "rounding weights by GPTQ"]
    assert rounding == [(done, 4) for done in range(4)]


@pytest.mark.parametrize("turned", [False, True])
def test_products_of_many_inputs_are_left_out(turned, monkeypatch):
    monkeypatch.setattr(gptq8, "_WIDEST", M)
    assert rounded(turned).keys() == {("second", 1), ("third", 1)}
