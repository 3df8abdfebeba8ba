"""Which shapes an engine accepts."""

from __future__ import annotations

import pytest

from edgekit.errors import ShapeError
from edgekit.shapes import shape_ranges
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
        (("image:4x3x8x8:2x3x8x8:8x3x8x8",), "expected 1 <= min <= opt <= max"),
        ((), "--shape in:0:1xtimex4 with numbers for the names"),
    ],
)
def test_what_does_not_fit(asked, says):
    with pytest.raises(ShapeError) as error:
        shape_ranges((IMAGE, SERIES), asked, {})
    assert says in str(error.value)
