"""The stream of samples: each once and in order, in batches of one shape, or refused in one line."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.data import Samples, batches, fixed_batch
from edgekit.data.samples import batch_axes, spread
from edgekit.errors import DataError
from edgekit.specs import TensorSpec

SERIES = TensorSpec("series", "float32", ("N", "T"))
GAIN = TensorSpec("gain", "int64", ("N",))
CHUNKS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=8)


class Fed:
    """Chunks as (count, length) in a row, whatever size and limit are asked for; sample i is full of i."""

    what = "numbers"
    count = labels = None
    names = ()

    def __init__(self, chunks) -> None:
        self.given, self.read = chunks, 0

    def chunks(self, size, limit):
        first = 0
        for count, length in self.given:
            self.read += 1
            index = np.arange(first, first + count)
            yield Samples(index, {"series": np.repeat(index[:, None], length, 1).astype(np.float32)})
            first += count


def cut(chunks, fixed, preferred, limit):
    data = Fed(chunks)
    return list(batches(data, (TensorSpec("series", "float32", (fixed or "N", "T")),), preferred, limit))


def refused(inputs, *specs):
    """The one line by which these inputs of samples 5, 6, … are refused."""

    class Once(Fed):
        def chunks(self, size, limit):
            count = max(np.shape(array)[0] for array in inputs.values())
            yield Samples(np.arange(5, 5 + count), inputs)

    with pytest.raises(DataError) as error:
        list(batches(Once([]), specs or (SERIES,), 4, 99))
    assert str(error.value).startswith("numbers: ")
    assert "\n" not in str(error.value)
    return str(error.value)


@given(st.integers(0, 500), st.integers(0, 500))
def test_spread_picks_evenly_and_nothing_twice(count, limit):
    picks = spread(count, limit)
    assert len(picks) == min(count, limit)
    if len(picks):
        gaps = np.diff([*picks, count])
        assert picks[0] == 0
        assert gaps.min() >= 1
        assert gaps.max() - gaps.min() <= 1


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 9), st.integers(0, 40), st.booleans())
def test_each_sample_once_and_in_order(counts, size, limit, fixed):
    kept = min(sum(counts), limit)
    kept -= kept % size if fixed else 0
    chunks = [(count, 2) for count in counts]
    if not kept:
        with pytest.raises(DataError):
            cut(chunks, size if fixed else None, size, limit)
        return
    found = cut(chunks, size if fixed else None, 3 if fixed else size, limit)
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    assert 0 < len(found[-1]) <= size
    assert np.concatenate([batch.index for batch in found]).tolist() == list(range(kept))
    for batch in found:
        np.testing.assert_array_equal(batch.inputs["series"], np.repeat(batch.index[:, None], 2, 1))


@given(CHUNKS, st.integers(1, 6))
def test_samples_of_other_lengths_never_share_a_batch_and_none_is_lost(chunks, size):
    lengths = [length for count, length in chunks for _ in range(count)]
    found = cut(chunks, None, size, 99)
    assert np.concatenate([batch.index for batch in found]).tolist() == list(range(len(lengths)))
    for batch in found:
        assert {lengths[sample] for sample in batch.index} == {batch.inputs["series"].shape[1]}
        assert len(batch) <= size


@given(CHUNKS, st.integers(1, 6))
def test_a_fixed_batch_drops_what_is_left_of_each_length(chunks, size):
    """Samples that follow one another with the same length fill batches across chunks; their rest fills none."""
    wanted, first = [], 0
    for _, run in itertools.groupby(chunks, key=lambda chunk: chunk[1]):
        count = sum(count for count, _ in run)
        wanted += range(first, first + count - count % size)
        first += count
    if not wanted:
        with pytest.raises(DataError, match=f"at least {size} samples of one shape .* batch of {size}, found {first}"):
            cut(chunks, size, 3, 99)
        return
    found = cut(chunks, size, 3, 99)
    assert {len(batch) for batch in found} == {size}
    assert np.concatenate([batch.index for batch in found]).tolist() == wanted


def test_nothing_is_asked_of_the_data_beyond_the_limit():
    data = Fed(itertools.repeat((2, 2)))
    assert sum(map(len, batches(data, (SERIES,), 3, 5))) == 5
    assert data.read == 3


def test_no_sample_at_all_is_refused():
    with pytest.raises(DataError, match="numbers: expected at least one sample, found 0"):
        cut([], None, 8, 99)


def test_an_order_of_inputs_of_its_own_in_each_chunk_does_not_matter():
    class Turned(Fed):
        def chunks(self, size, limit):
            series, gain = np.ones((1, 3), np.float32), np.ones(1, np.int64)
            yield Samples(np.array([0]), {"series": series, "gain": gain})
            yield Samples(np.array([1]), {"gain": gain, "series": series})

    (found,) = batches(Turned([]), (GAIN, SERIES), 2, 9)
    assert list(found.inputs) == ["gain", "series"]
    assert len(found) == 2


GOOD = np.ones((3, 4), np.float32)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"serie": GOOD}, "no input 'serie'; did you mean 'series'?"),
        ({"series": GOOD, "more": GOOD}, "no input 'more'; known are series"),
        ({"series": GOOD.astype(np.float64)}, "series: expected float32[N, T], found float64[3, 4]"),
        ({"series": GOOD[:, :, None]}, "expected float32[N, T], found float32[3, 4, 1]"),
        ({"series": GOOD[:, :0]}, "found samples without values, [3, 0]"),
    ],
)
def test_what_does_not_fit_the_model(inputs, says):
    assert says in refused(inputs)


def test_an_input_that_is_missing_or_has_samples_of_its_own():
    assert "expected an array 'gain', found series" in refused({"series": GOOD}, SERIES, GAIN)
    found = refused({"series": GOOD, "gain": np.arange(2)}, SERIES, GAIN)
    assert "the same number of samples for every input, found {'series': 3, 'gain': 2}" in found


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_the_first_broken_sample_is_named(broken):
    series = GOOD.copy()
    series[1:, 2] = broken
    assert "expected finite numbers in 'series', found NaN or Inf in sample 6" in refused({"series": series})


@pytest.mark.parametrize(("shape", "size"), [((4, 3), 4), (("N", 3), None), ((), 1)])
def test_the_batch_that_a_model_fixes(shape, size):
    assert fixed_batch((TensorSpec("x", "float32", shape), SERIES)) == size


STATE = TensorSpec("state", "float32", (2, "N", 3))
PAIRED = (SERIES, STATE)


class FedWithState(Fed):
    """As Fed; the state of sample i is full of -i, samples along axis 0 as all data have them."""

    def chunks(self, size, limit):
        for samples in super().chunks(size, limit):
            state = -np.broadcast_to(samples.index[:, None, None], (len(samples), 2, 3)).astype(np.float32)
            yield Samples(samples.index, {**samples.inputs, "state": state})


@given(CHUNKS, st.integers(1, 4))
def test_a_state_comes_with_its_batch_where_the_model_has_it(chunks, preferred):
    for made in batches(FedWithState(chunks), PAIRED, preferred, 99):
        assert made.inputs["state"].shape == (2, len(made), 3)
        np.testing.assert_array_equal(made.inputs["state"][1, :, 2], -made.index)
        part = made[1:]
        np.testing.assert_array_equal(part.inputs["state"][0, :, 0], -part.index)
        np.testing.assert_array_equal(part.rows("state")[:, 0, 0], -part.index)


def test_the_batch_axis_is_found_by_its_name_in_front_of_another():
    assert batch_axes(PAIRED) == {"state": 1}
    assert batch_axes((STATE, SERIES)) == {"state": 1}
    assert batch_axes((SERIES, GAIN, TensorSpec("table", "float32", (2, "T", 3)))) == {}
    assert batch_axes((TensorSpec("x", "float32", (4, 2)), TensorSpec("h", "float32", (2, 4)))) == {}
    assert fixed_batch(PAIRED) is None
    assert fixed_batch((*PAIRED, TensorSpec("y", "float32", (1, 4)))) == 1


def test_a_state_in_the_models_layout_is_refused_with_what_data_have():
    said = refused({"series": np.zeros((3, 2), np.float32), "state": np.zeros((2, 3, 3), np.float32)}, *PAIRED)
    assert "state: expected float32[N, 2, 3], found float32[2, 3, 3]" in said
