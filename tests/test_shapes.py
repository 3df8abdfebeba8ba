"""Which shapes an engine accepts."""

from __future__ import annotations

import pytest

from edgekit.errors import ShapeError
from edgekit.shapes import profiles, shape_ranges
from edgekit.specs import TensorSpec

IMAGE = TensorSpec("image", "float32", ("batch", 3, 8, 8))
SERIES = TensorSpec("in:0", "float32", ("batch", "time", 4))


def test_the_batch_rule_and_the_exports_ranges():
    found = shape_ranges((IMAGE, SERIES), (), {"time": [1, 5, 20]})
    assert list(map(str, found)) == ["image:1x3x8x8:1x3x8x8:8x3x8x8", "in:0:1x1x4:1x5x4:8x20x4"]


def test_given_ranges_win_and_names_may_hold_a_colon():
    found = shape_ranges((IMAGE, SERIES), ("in:0:2x3x4", "image:1x3x8x8:2x3x8x8:4x3x8x8"), {"time": [1, 5, 20]})
    assert list(map(str, found)) == ["image:1x3x8x8:2x3x8x8:4x3x8x8", "in:0:2x3x4:2x3x4:2x3x4"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("imag:1x3x8x8",), "did you mean 'image'?"),
        (("image:3x8x8",), "expected 4 axes for image: float32[batch, 3, 8, 8], found 3"),
        (("image:1x3x8x9",), "axis 3 of image is fixed at 8, found 9"),
        (("image:4x3x8x8:2x3x8x8:8x3x8x8",), "expected 0 <= min <= opt <= max"),
        ((), "--shape in:0:1xtimex4 with numbers for the names"),
    ],
)
def test_what_does_not_fit(asked, says):
    with pytest.raises(ShapeError) as error:
        shape_ranges((IMAGE, SERIES), asked, {})
    assert says in str(error.value)


def test_an_input_with_several_ranges_makes_as_many_profiles():
    asked = ("in:0:1x8x4", "in:0:1x1x4:2x1x4:4x1x4", "image:1x3x8x8")
    prompt, step = profiles((IMAGE, SERIES), asked, {})
    assert list(map(str, prompt)) == ["image:1x3x8x8:1x3x8x8:1x3x8x8", "in:0:1x8x4:1x8x4:1x8x4"]
    assert str(step[0]) == str(prompt[0])
    assert str(step[1]) == "in:0:1x1x4:2x1x4:4x1x4"
    # What a bundle takes: any of them.
    assert list(map(str, shape_ranges((IMAGE, SERIES), asked, {})))[1] == "in:0:1x1x4:1x8x4:4x8x4"


def test_numbers_of_ranges_that_do_not_match_are_an_error():
    asked = ("in:0:1x8x4", "in:0:1x1x4", "image:1x3x8x8", "image:2x3x8x8", "image:4x3x8x8")
    with pytest.raises(ShapeError, match="expected 1 or 3 ranges for in:0, one a profile, found 2"):
        profiles((IMAGE, SERIES), asked, {})


def test_a_model_without_inputs_has_one_empty_profile():
    assert profiles((), (), {}) == ((),)
    assert shape_ranges((), (), {}) == ()


def test_an_axis_of_the_same_name_has_the_same_range_in_all_inputs():
    """Else TensorRT finds the profile not self-consistent. A name that was not given keeps what is known of it."""
    mask = TensorSpec("mask", "int64", ("batch", "time"))
    found = shape_ranges((IMAGE, SERIES, mask), ("in:0:2x3x4:2x5x4:4x9x4",), {"time": [1, 1, 1]})
    assert list(map(str, found)) == ["image:2x3x8x8:2x3x8x8:4x3x8x8", "in:0:2x3x4:2x5x4:4x9x4", "mask:2x3:2x5:4x9"]
