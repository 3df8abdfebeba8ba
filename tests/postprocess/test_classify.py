"""edgekit.postprocess: labels, probabilities and what is refused."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgekit.errors import DataError, UsageError
from edgekit.postprocess.classify import Label, classify


def test_one_sample_and_a_batch():
    [only] = classify(np.log(np.array([1.0, 3.0, 4.0])), ("ant", "bee", "cat"), top=2)
    assert [(label.name, label.index) for label in only] == [("cat", 2), ("bee", 1)]
    assert [label.probability for label in only] == pytest.approx([0.5, 0.375])
    first, second = classify(np.array([[0.0, 1.0], [1.0, 0.0]], np.float16), ("no", "yes"))
    assert (first[0].name, second[0].name) == ("yes", "no")
    assert classify(np.zeros((0, 4), np.float32), ()) == []


def test_names_that_are_missing_are_indices():
    assert [label.name for label in classify(np.array([1, 3, 2]), (), top=3)[0]] == ["1", "2", "0"]
    assert [label.name for label in classify(np.array([1, 3, 2]), ("a", "", "c"), top=3)[0]] == ["1", "c", "a"]


def test_ties_keep_the_order_of_classes_and_top_is_capped():
    assert [label.index for label in classify(np.array([5.0, 7.0, 5.0, 7.0]), (), top=99)[0]] == [1, 3, 0, 2]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_largest_finite_logits_do_not_overflow(dtype):
    limit = np.finfo(dtype).max
    [row] = classify(np.array([limit / 2, 0, -limit / 2], dtype), (), top=3)
    assert [label.probability for label in row] == [1.0, 0.0, 0.0]
    assert [label.index for label in row] == [0, 1, 2]  # the last two are both zero and still ranked


def test_softmax_is_computed_in_float64():
    logits = np.array([0.0, 20.0], np.float32)
    [row] = classify(logits, (), top=2)
    assert row[1].probability == pytest.approx(math.exp(-20) / (1 + math.exp(-20)), rel=1e-12)


@given(arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.floats(-80, 80, width=32)))
def test_all_probabilities_add_up_and_fall(logits):
    for row, values in zip(classify(logits, (), top=logits.shape[1]), logits.tolist(), strict=True):
        probabilities = [label.probability for label in row]
        assert sum(map(Fraction, probabilities)) == pytest.approx(1, abs=1e-12)
        assert probabilities == sorted(probabilities, reverse=True)
        assert row[0].index == values.index(max(values))
        assert all(type(label.index) is int and type(label.probability) is float for label in row)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_not_finite_is_refused(bad):
    with pytest.raises(DataError, match="expected finite logits, found 1 NaN or infinite of 4"):
        classify(np.array([[0.0, 1.0], [bad, 0.0]]), ())


@pytest.mark.parametrize("labels", [("a",), ("a", "b", "c")])
def test_another_number_of_labels_is_refused(labels):
    with pytest.raises(DataError, match=f"each of the 2 classes, found {len(labels)} labels"):
        classify(np.array([0.0, 1.0]), labels)


@pytest.mark.parametrize(
    "logits",
    [
        np.zeros((1, 2, 3)),
        np.zeros(()),
        np.zeros((2, 0)),
        np.zeros(3, np.complex64),
        np.array(["a"]),
        np.zeros(2, bool),
    ],
)
def test_what_is_no_logits_is_refused(logits):
    with pytest.raises(DataError, match="expected real logits"):
        classify(logits, ())


def test_top_is_at_least_one():
    with pytest.raises(UsageError, match="expected 1 or more, found 0"):
        classify(np.array([0.0]), (), top=0)
    assert classify(np.array([0.0]), ("one",)) == [[Label("one", 0, 1.0)]]
