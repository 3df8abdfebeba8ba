"""Wrong arrays are told with the call that mends them; each remedy is carried out and fits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import ShapeError
from edgekit.runtime.feeds import check, fitted
from edgekit.specs import TensorSpec

IMAGE = TensorSpec("image", "float32", ("batch", 3, 8, 12))
SERIES = TensorSpec("x", "float32", ("batch", "time", 4))


@pytest.mark.parametrize(
    ("spec", "array", "remedy"),
    [
        (IMAGE, np.zeros((1, 8, 12, 3), np.float32), "array.transpose(0, 3, 1, 2)"),
        (IMAGE, np.zeros((3, 8, 12), np.float32), "array[None]"),
        (IMAGE, np.zeros((1, 3, 8, 12)), "array.astype('float32')"),
        (IMAGE, np.zeros((1, 8, 12, 3), np.uint8), "array.transpose(0, 3, 1, 2).astype('float32')"),
        (SERIES, np.zeros((1, 4, 9), np.float32), "array.transpose(0, 2, 1)"),
        (SERIES, np.zeros((9, 4), np.int64), "array[None].astype('float32')"),
    ],
)
def test_the_remedy_is_named_and_works(spec, array, remedy):
    with pytest.raises(ShapeError) as error:
        check(spec, array)
    assert error.value.next_step == remedy
    check(spec, eval(remedy, {"array": array}))


@given(st.lists(st.integers(1, 5), max_size=5))
def test_a_remedy_never_lies(shape):
    array = np.zeros(shape, np.float32)
    try:
        check(SERIES, array)
    except ShapeError as error:
        if error.next_step:
            check(SERIES, eval(error.next_step, {"array": array}))


def test_only_a_batch_of_one_may_leave_its_axis_away():
    assert fitted(SERIES, np.zeros((2, 4), np.float32), (1, 7, 4)) == (1, 2, 4)
    assert fitted(SERIES, np.zeros((3, 2, 4), np.float32), (1, 7, 4)) == (3, 2, 4)
    for array in (np.zeros((2, 4), np.float32), np.float32(1), np.zeros(4, np.float32)):
        with pytest.raises(ShapeError):
            fitted(SERIES, np.asarray(array), (2, 7, 4))
