"""The guard against NumPy's and Python's own account of what is finite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekit.runtime.loop.guard import Guard

GUARD = Guard()


@given(
    st.sampled_from(["float16", "float32", "float64", "complex64", "int32", "bool"]).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0))
    )
)
def test_the_mask_is_what_numpy_says(array):
    found, wanted = GUARD.mask(array), np.isfinite(array)
    if wanted.all():
        assert found is None
    else:
        np.testing.assert_array_equal(found, wanted)


def test_large_finite_values_are_good_though_their_sum_is_infinite():
    assert GUARD.good(np.full(10, np.finfo(np.float32).max))


@pytest.mark.parametrize("bad", [float("nan"), float("-inf"), complex(0, float("inf")), np.float16("nan")])
def test_numbers_are_found_wherever_they_are(bad):
    for answer in (bad, [1, bad], ({"a": (2.0, [bad])},), np.array([[0, bad]])):
        assert not GUARD.good(answer)


def test_what_has_no_numbers_is_good():
    assert GUARD.good([None, "nan", 3, {"a": True}, (), np.array(["nan"])])


def test_memory_is_made_once_for_arrays_that_get_no_larger():
    guard = Guard()
    array = np.full((10, 100), np.nan, np.float32)
    first = guard.mask(array)
    assert np.shares_memory(first, guard.mask(array[:3].T))
    assert np.shares_memory(first, guard.mask(array))
