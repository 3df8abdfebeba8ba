"""What is seen of a real network's tensors, against torch; batches, broken numbers, empty and huge ones."""

from __future__ import annotations

import copy
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

from edgekit.errors import DataError, QuantizeError  # noqa: E402
from edgekit.quantize.histogram import BINS  # noqa: E402
from edgekit.quantize.observers import Channels, Observer, Seen, Statistics  # noqa: E402
from tests.quantize.digit_cnn import AXES, activations, as_onnx, digits, network  # noqa: E402
from tests.quantize.graphs import graph, node, run, value  # noqa: E402

IMAGES = slice(1300, 1364)


def by_channel(array: np.ndarray, axis: int) -> np.ndarray:
    """[C, values], float64."""
    return np.moveaxis(array.astype(np.float64), axis, 0).reshape(array.shape[axis], -1)


def through(observer: Observer, images: np.ndarray, size: int) -> Statistics:
    seen = Statistics()
    for start in range(0, len(images), size):
        seen = seen.merged(observer.see({"image": images[start : start + size]})[0])
    return seen


@pytest.fixture(scope="module")
def by_torch() -> dict[str, np.ndarray]:
    images = torch.from_numpy(digits()[0][IMAGES])
    return {name: tensor.numpy() for name, tensor in activations(network(), images).items()}


@pytest.mark.parametrize("size", [64, 7, 1])
def test_channels_are_those_of_torch_in_any_batches(by_torch, size):
    """`image` is an input, `b` is read by two layers, `flat` has its channels last."""
    seen = through(Observer(as_onnx(), AXES), digits()[0][IMAGES], size)
    assert seen.tensors.keys() == AXES.keys()
    for name, axis in AXES.items():
        found, wanted = seen.tensors[name], by_channel(by_torch[name], axis)
        scale = np.abs(wanted).max()
        close = {"rtol": 1e-5, "atol": 1e-6 * scale, "err_msg": name}
        assert found.largest == pytest.approx(scale, rel=1e-5)
        channels = found.channels
        assert channels.count == wanted.shape[1]
        np.testing.assert_allclose(channels.low, wanted.min(axis=1), **close)
        np.testing.assert_allclose(channels.high, wanted.max(axis=1), **close)
        np.testing.assert_allclose(channels.largest, np.abs(wanted).max(axis=1), **close)
        np.testing.assert_allclose(channels.mean(), wanted.mean(axis=1), **close)
        np.testing.assert_allclose(channels.squares / channels.count, (wanted**2).mean(axis=1), rtol=1e-4)
        assert channels.low.dtype == channels.high.dtype == channels.largest.dtype == np.float32
        assert channels.total.dtype == channels.squares.dtype == np.float64


@pytest.mark.parametrize("size", [64, 5])
def test_histograms_count_every_value(size):
    model, images = as_onnx(), digits()[0][IMAGES]
    parts = [{"image": images[start : start + size]} for start in range(0, len(images), size)]
    made = [part | run(model, part, *AXES.keys() - {"image"}) for part in parts]
    seen = through(Observer(model, AXES), images, size)
    for name in AXES:
        sizes = np.abs(np.concatenate([batch[name].reshape(-1) for batch in made]))
        found = seen.tensors[name].histogram
        np.testing.assert_array_equal(found.counts, np.histogram(sizes, BINS, (0, 2.0**found.exponent))[0], name)
        assert 2.0**found.exponent / 2 <= sizes.max() < 2.0**found.exponent


def test_where_the_largest_value_is_enough_it_is_the_same():
    images = digits()[0][IMAGES]
    whole = through(Observer(as_onnx(), AXES), images, 16)
    reduced = through(Observer(as_onnx(), {}, [*AXES, "image"]), images, 16)
    assert {name: seen.largest for name, seen in reduced.tensors.items()} == {
        name: seen.largest for name, seen in whole.tensors.items()
    }
    assert all(seen.histogram is None and seen.channels is None for seen in reduced.tensors.values())
    both = Observer(as_onnx(), {"a": 1}, ["a", "b", "logits"]).see({"image": images})[0].tensors
    assert both["a"].channels is not None
    assert both["b"].channels is None
    assert both["logits"].largest > 0


def test_the_models_own_outputs_come_with_it():
    feeds = {"image": digits()[0][IMAGES]}
    for axes, others in (({}, []), (AXES | {"logits": 1}, ["c"]), ({}, ["logits"])):
        found = Observer(as_onnx(), axes, others).see(feeds)[1]
        assert list(found) == ["logits"]
        np.testing.assert_array_equal(found["logits"], run(as_onnx(), feeds)["logits"])
    assert not Observer(as_onnx(), {}).watches()
    assert Observer(as_onnx(), {}, ["c"]).watches()


def identity(rank: int = 2):
    """x of any shape -> y = -(-x), with y's negative between them."""
    axes = [f"axis{index}" for index in range(rank)]
    return graph([node("Neg", "x", "n"), node("Neg", "n", "y")], [value("x", *axes)], ["y"], {})


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1, 7, 500, 999])
@pytest.mark.parametrize("whole", [True, False])
def test_a_broken_number_is_refused_wherever_it_stands(broken, place, whole):
    """onnxruntime's own ReduceMax does not see a NaN at most of these places."""
    array = np.random.default_rng(0).normal(size=(10, 100)).astype(np.float32)
    array.reshape(-1)[place] = broken
    observer = Observer(identity(), {"n": 1}) if whole else Observer(identity(), {}, ["n"])
    with pytest.raises(QuantizeError, match="activation 'n' is NaN or Inf on the calibration data") as caught:
        observer.see({"x": array})
    assert "\n" not in str(caught.value)


def test_what_onnxruntime_refuses_is_one_line():
    with pytest.raises(QuantizeError, match="onnxruntime failed on the calibration data") as caught:
        Observer(as_onnx(), AXES).see({"image": np.zeros((1, 1, 8, 9), np.float64)})
    assert "\n" not in str(caught.value)
    broken = as_onnx()
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(QuantizeError, match="onnxruntime failed"):
        Observer(broken, AXES).see({"image": digits()[0][:1]})


@pytest.mark.parametrize("largest", [3e38, 1e20, 1e-30])
def test_squares_that_float32_does_not_hold(largest):
    array = (np.random.default_rng(0).uniform(-1, 1, size=(50, 4)) * largest).astype(np.float32)
    channels = Observer(identity(), {"n": 1}).see({"x": array})[0].tensors["n"].channels
    exact = array.astype(np.float64)
    np.testing.assert_allclose(channels.total, -exact.sum(axis=0), rtol=1e-6)
    # What is too small for float32's squares is too small to matter: it is zero at worst.
    np.testing.assert_allclose(channels.squares, (exact**2).sum(axis=0), rtol=1e-6, atol=1e-44)


def test_a_tensor_without_values_says_nothing():
    """A detector that found nothing in the first picture."""
    array = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    for observer in (Observer(identity(), {"n": 1}), Observer(identity(), {}, ["n"])):
        nothing, something = (observer.see({"x": part})[0] for part in (array[:0], array))
        assert nothing.tensors["n"].largest == 0
        for joined in (nothing.merged(something), something.merged(nothing)):
            assert joined.tensors["n"].largest == something.tensors["n"].largest
            assert joined.tensors["n"].channels is something.tensors["n"].channels
            assert joined.tensors["n"].histogram is something.tensors["n"].histogram


@pytest.mark.parametrize(("rank", "axis"), [(0, 1), (0, -1), (1, 1), (1, -1)])
def test_numbers_without_a_channel_axis(rank, axis):
    array = np.arange(2, 2 + 3**rank, dtype=np.float32).reshape([3] * rank)
    channels = Observer(identity(rank), {"n": axis}).see({"x": array})[0].tensors["n"].channels
    np.testing.assert_array_equal(channels.total, -np.atleast_1d(array).astype(np.float64), strict=True)
    assert channels.count == 1


def test_merging_changes_neither():
    images = digits()[0][IMAGES]
    observer = Observer(as_onnx(), AXES, ["c"])
    one, other = (observer.see({"image": part})[0] for part in (images[:9], images[9:]))
    before = copy.deepcopy((one, other))
    joined = one.merged(other)
    assert joined.tensors["a"].channels.count == 64 * 64
    for now, then in zip((one, other), before, strict=True):
        for name, seen in then.tensors.items():
            assert now.tensors[name].largest == seen.largest
            if name != "c":
                np.testing.assert_array_equal(now.tensors[name].histogram.counts, seen.histogram.counts)
                np.testing.assert_array_equal(now.tensors[name].channels.total, seen.channels.total)
                assert now.tensors[name].channels.count == seen.channels.count


def test_other_channels_are_refused():
    """A table of this model that someone has cut short."""
    one, other = (
        Statistics({"x": Seen(0.0, None, Channels(1, *np.zeros((2, size), np.float32), *np.zeros((2, size)), 1))})
        for size in (3, 4)
    )
    with pytest.raises(DataError, match="expected 3 channels, as were seen before, found 4"):
        one.merged(other)


@pytest.mark.parametrize("name", AXES)
def test_moved_and_divided_channels_are_those_of_moved_and_divided_data(by_torch, name):
    seen = through(Observer(as_onnx(), AXES), digits()[0][IMAGES], 64).tensors[name].channels
    rows = by_channel(by_torch[name], AXES[name])
    by = np.random.default_rng(0).uniform(0.5, 2, size=len(rows)).astype(np.float32)
    for found, wanted in ((seen.moved(by), rows - by[:, None]), (seen.divided(by), rows / by[:, None])):
        close = {"rtol": 1e-4, "atol": 1e-5 * np.abs(wanted).max()}
        np.testing.assert_allclose(found.low, wanted.min(axis=1), **close)
        np.testing.assert_allclose(found.high, wanted.max(axis=1), **close)
        np.testing.assert_allclose(found.mean(), wanted.mean(axis=1), **close)
        np.testing.assert_allclose(found.squares / found.count, (wanted**2).mean(axis=1), **close)
        assert (found.axis, found.count) == (seen.axis, seen.count)


def test_memory_does_not_grow_with_the_samples():
    images = digits()[0]
    observer = Observer(as_onnx(), AXES)

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            through(observer, images[:count], 8)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(64)
    assert peak(512) < 1.1 * peak(64)
