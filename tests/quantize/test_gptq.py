"""GPTQ against its own definition in float64, against every possible rounding of tiny weights, and on real digits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekit.quantize.gptq import Blocks, factor_of, gptq, round_blocks, rounded_in_turn

FLOATS = st.floats(-1e4, 1e4, width=32)


def moments_of(x: np.ndarray) -> np.ndarray:
    return x.T.astype(np.float64) @ x / len(x)


def correlated(inputs: int, seed: int = 0) -> np.ndarray:
    """Second moments of inputs that go together, some strong and some weak."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(inputs, inputs)) @ np.diag(random.lognormal(sigma=1.5, size=inputs))
    return moments_of(random.normal(size=(50 * inputs, inputs)) @ mixing)


def error(weight: np.ndarray, rounded: np.ndarray, moments: np.ndarray) -> float:
    """E |x (W - Wq)|^2."""
    lost = weight.astype(np.float64) - rounded
    return float(np.einsum("io,ij,jo->", lost, moments, lost))


def weights(inputs: int, outputs: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(inputs, outputs)).astype(np.float32)


def check(found: Blocks, weight: np.ndarray, half: bool) -> None:
    assert found.levels.dtype == np.int8
    assert found.levels.shape == weight.shape
    assert found.levels.min() >= -8
    assert found.levels.max() <= 7
    assert found.scale.dtype == np.float32
    assert found.scale.shape == (-(-len(weight) // found.size), weight.shape[1])
    assert (found.scale > 0).all(), "TensorRT wants them positive"
    if half:
        np.testing.assert_array_equal(found.scale, found.scale.astype(np.float16), "FP16 holds the scales")


@settings(deadline=None, max_examples=50)
@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 3)), elements=FLOATS),
    st.integers(1, 6),
    st.booleans(),
    st.booleans(),
)
def test_any_weight_gives_legal_blocks(weight, size, half, seen):
    """Whatever the inputs were: nothing at all, or all alike."""
    moments = np.ones((len(weight), len(weight))) if seen else np.zeros((len(weight), len(weight)))
    for found in (round_blocks(weight, size, half=half), gptq(weight, moments, size, half=half)):
        check(found, weight, half)
        spread = np.repeat(found.scale, size, axis=0)[: len(weight)]
        np.testing.assert_array_equal(found.values(), found.levels * spread)


def test_rounding_takes_the_best_share_of_the_largest_value():
    weight = weights(128, 40)
    found = round_blocks(weight, 64)
    for start, scale in zip((0, 64), found.scale, strict=True):
        block = weight[start : start + 64].astype(np.float64)
        chosen = np.square(block - found.values()[start : start + 64]).sum(axis=0)
        for share in np.linspace(0.3, 1.2, 200):
            tried = share * np.abs(block).max(axis=0) / 7
            other = np.square(block - np.clip(np.rint(block / tried), -8, 7) * tried).sum(axis=0)
            # The shares that are tried are 3.4 % apart.
            assert (chosen < 1.15 * other).all()
        np.testing.assert_array_equal(
            found.levels[start : start + 64], np.clip(np.rint(weight[start : start + 64] / scale), -8, 7)
        )


def textbook(weight: np.ndarray, moments: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Round input after input by scales [I,O]; those left make up for it exactly, by the inverse of their part of H.

    Source: Frantar and Alistarh, "Optimal Brain Compression", arXiv 2208.11580: the update that GPTQ does faster.
    """
    left = weight.astype(np.float64).copy()
    levels = np.empty_like(left)
    for index, scale in enumerate(scales):
        levels[index] = np.clip(np.rint(left[index] / scale), -8, 7)
        lost = left[index] - levels[index] * scale
        inverse = np.linalg.inv(moments[index:, index:])
        left[index:] -= np.outer(inverse[:, 0] / inverse[0, 0], lost)
    return levels


@pytest.mark.parametrize("inputs", [3, 16, 17, 60])
def test_rounding_in_turn_is_the_textbooks(inputs):
    weight, moments = weights(inputs, 30), correlated(inputs)
    scale = np.abs(weight).max(axis=0) / 7
    damped = moments + 0.01 * np.diag(moments).mean() * np.eye(inputs)
    levels, errors = rounded_in_turn(weight.copy(), factor_of(moments, np.arange(inputs)), scale)
    wanted = textbook(weight, damped, np.tile(scale, (inputs, 1)))
    same = levels == wanted
    assert same.all(axis=0).mean() > 0.9, "a tie in float32 may send a column another way"
    # What the module says: the sum of the squared errors is what the layer loses.
    lost = error(weight, levels * scale, damped)
    assert np.square(errors.astype(np.float64)).sum() == pytest.approx(lost, rel=1e-4)


@pytest.mark.parametrize("inputs", [64, 70])
def test_blocks_make_up_for_one_another(inputs):
    """The textbook again, by the scales that were chosen: what weighs most goes first, blocks and inputs alike."""
    weight, moments = weights(inputs, 30), correlated(inputs)
    found = gptq(weight, moments, 16)
    importance = np.diag(moments)
    starts = sorted(range(0, inputs, 16), key=lambda start: -importance[start : start + 16].mean())
    order = [item for start in starts
             for item in sorted(range(start, min(start + 16, inputs)), key=lambda item: -importance[item])]  # fmt: skip
    assert starts != sorted(starts)
    damped = moments + 0.01 * importance.mean() * np.eye(inputs)
    scales = np.repeat(found.scale, 16, axis=0)[:inputs]
    wanted = textbook(weight[order], damped[np.ix_(order, order)], scales[order])
    assert (found.levels[order] == wanted).all(axis=0).mean() > 0.9, "a tie may go another way"


def test_the_factor_belongs_to_the_inverse():
    moments = correlated(20)
    order = np.random.default_rng(1).permutation(20)
    factor = factor_of(moments, order).astype(np.float64)
    damped = moments[np.ix_(order, order)] + 0.01 * np.diag(moments).mean() * np.eye(20)
    np.testing.assert_array_equal(factor, np.triu(factor))
    np.testing.assert_allclose(factor.T @ factor @ damped, np.eye(20), atol=1e-4)


def test_it_comes_near_the_best_of_all_roundings():
    """Four inputs, one output: all 16^4 roundings with the same scale are looked at."""
    levels = np.array(list(itertools.product(range(-8, 8), repeat=4)), np.float64)
    best = found = plain = 0.0
    for seed in range(30):
        weight, moments = weights(4, 1, seed), correlated(4, seed)
        made = gptq(weight, moments, 4)
        lost = weight.astype(np.float64)[:, 0] - levels * float(made.scale[0, 0])
        all_errors = np.einsum("ni,ij,nj->n", lost, moments, lost) / np.trace(moments)
        rounded = np.clip(np.rint(weight / made.scale), -8, 7) * made.scale
        best += all_errors.min()
        found += error(weight, made.values(), moments) / np.trace(moments)
        plain += error(weight, rounded, moments) / np.trace(moments)
    assert best <= found
    assert found < 0.5 * plain
    assert found < 3 * best


def test_without_correlation_there_is_nothing_to_make_up_for():
    weight = weights(200, 50)
    found, plain = gptq(weight, 3 * np.eye(200), 64), round_blocks(weight, 64)
    np.testing.assert_array_equal(found.levels, plain.levels)
    np.testing.assert_array_equal(found.scale, plain.scale)


def test_inputs_that_are_always_zero_are_rounded_like_any():
    weight, moments = weights(128, 20), np.zeros((128, 128))
    moments[:100, :100] = correlated(100)
    found = gptq(weight, moments, 128)
    dead = weight[100:]
    np.testing.assert_array_equal(found.levels[100:], np.clip(np.rint(dead / found.scale), -8, 7))
    assert error(weight, found.values(), moments) < error(weight, round_blocks(weight, 128).values(), moments)


def test_outputs_do_not_depend_on_one_another():
    weight, moments = weights(64, 1100), correlated(64)
    together = gptq(weight, moments, 64)
    alone = [gptq(weight[:, part], moments, 64) for part in (slice(0, 700), slice(700, 1100))]
    # A product of another shape may sum in another order, and tip a tie.
    assert (together.levels == np.concatenate([item.levels for item in alone], axis=1)).mean() > 0.999


def test_inputs_may_stand_in_any_order_within_a_block():
    weight, moments = weights(96, 40), correlated(96)
    order = np.concatenate([np.random.default_rng(0).permutation(64), 64 + np.random.default_rng(1).permutation(32)])
    found, moved = gptq(weight, moments, 64), gptq(weight[order], moments[np.ix_(order, order)], 64)
    assert (found.levels[order] == moved.levels).mean() > 0.99


def test_the_given_weight_stays_as_it_is():
    weight, moments = weights(64, 8), correlated(64)
    kept = weight.copy(), moments.copy()
    gptq(weight, moments, 64)
    np.testing.assert_array_equal(weight, kept[0])
    np.testing.assert_array_equal(moments, kept[1])


@pytest.mark.parametrize("half", [False, True])
def test_on_real_digits(half):
    """Weights that were trained on the digits, inputs that calibration did not see."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn's digits are the data")
    from sklearn.linear_model import LogisticRegression

    images, labels = datasets.load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    model = LogisticRegression(max_iter=2000).fit(images[:1000], labels[:1000])
    weight = np.ascontiguousarray(model.coef_.T.astype(np.float32))
    unseen, plain = moments_of(images[1000:]), round_blocks(weight, 64, half=half)
    found = gptq(weight, moments_of(images[:1000]), 64, half=half)
    check(found, weight, half)
    gain = 10 * np.log10(error(weight, plain.values(), unseen) / error(weight, found.values(), unseen))
    assert gain > 5


def test_scales_chosen_by_what_remains_beat_those_of_the_weight():
    """GPTQ with the scales of plain rounding, as published, loses more."""
    weight, moments = weights(128, 200), correlated(128)
    order = np.argsort(-np.diag(moments), kind="stable")
    scale = round_blocks(weight, 128).scale[0]
    levels, _ = rounded_in_turn(weight[order].copy(), factor_of(moments, order), scale)
    published = np.empty_like(weight)
    published[order] = levels * scale
    assert error(weight, gptq(weight, moments, 128).values(), moments) < 0.9 * error(weight, published, moments)
