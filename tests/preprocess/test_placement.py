"""Where the input lies on its picture, against what `apply` does to a square whose place is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgekit.errors import DataError
from edgekit.preprocess.image import apply
from edgekit.preprocess.placement import Placement, placement
from edgekit.specs import ImagePreprocess


def plain(resize: int, crop: int, interpolation: str = "bilinear") -> ImagePreprocess:
    """A spec that leaves the pixel values alone."""
    return ImagePreprocess("image", "x", resize, crop, (0.0,) * 3, (1.0,) * 3, interpolation, "NHWC")


def centre_of_light(tensor: np.ndarray) -> tuple[float, float]:
    """x and y of the centre of mass of [H,W,3], in pixels from the upper left corner."""
    light = tensor.astype(np.float64).sum(axis=2)
    y, x = ((light.sum(axis=1 - axis) * (np.arange(light.shape[axis]) + 0.5)).sum() for axis in (0, 1))
    return x / light.sum(), y / light.sum()


def applied(spec: ImagePreprocess, picture: np.ndarray) -> np.ndarray:
    tensor = np.empty((spec.crop, spec.crop, 3), np.float32)
    apply(spec, picture, tensor)
    return tensor


SIZES = [(480, 640), (640, 480), (1080, 1920), (333, 517), (100, 100), (65, 64), (90, 400)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (224, 224), (97, 64), (300, 299)])
@pytest.mark.parametrize("where", [(0.5, 0.5), (0.3, 0.62), (0.68, 0.35)])
def test_a_bright_square_is_found_where_it_was_drawn(height, width, resize, crop, where):
    shorter = min(height, width)
    x, y = ((size - shorter) // 2 + round(part * shorter) for size, part in zip((width, height), where, strict=True))
    half = max(2, shorter // 24)
    picture = np.zeros((height, width, 3), np.uint8)
    picture[y - half : y + half, x - half : x + half] = 255
    spec = plain(resize, crop)
    found = placement(spec, height, width).point(*centre_of_light(applied(spec, picture)))
    # The filter is symmetric: its weights, cut at whole pixels of the source, move the light by less than this part.
    assert np.abs(np.subtract(found, (x, y))).max() < 0.1 * max(1.0, shorter / resize)


@settings(max_examples=200, deadline=None)
@given(height=st.integers(1, 3000), width=st.integers(1, 3000), resize=st.integers(1, 700), data=st.data())
def test_the_crop_is_where_pillow_and_torchvision_cut_it(height, width, resize, data):
    """torchvision's Resize and CenterCrop: int(size * long / short), and round((size - crop) / 2.0)."""
    crop = data.draw(st.integers(1, resize))
    short = min(height, width)
    sizes = [int(resize * side / short) if side != short else resize for side in (width, height)]
    got = placement(plain(resize, crop), height, width)
    for side, size, start, step in zip(
        (width, height), sizes, (got.left, got.top), (got.across, got.down), strict=True
    ):
        assert step == pytest.approx(side / size, rel=1e-12)
        assert start / step == pytest.approx(round((size - crop) / 2.0), abs=1e-6)


def test_a_box_around_the_whole_input_is_the_crop_of_the_picture():
    picture = np.zeros((300, 400, 3), np.uint8)
    left, top, right, bottom = placement(plain(300, 200), 300, 400).corners((0, 0, 200, 200))
    assert (left, top, right, bottom) == (100, 50, 300, 250)
    picture[int(top) : int(bottom), int(left) : int(right)] = 255
    np.testing.assert_array_equal(applied(plain(300, 200), picture), 255)


def test_pillow_itself_maps_a_box_the_same_way():
    """Resizing only the mapped box of a photograph gives the input that cropping after the resize gave."""
    skimage = pytest.importorskip("skimage.data")
    picture, spec = skimage.coffee(), plain(200, 150)
    place = placement(spec, *picture.shape[:2])
    alone = Image.fromarray(picture).resize((150, 150), Image.Resampling.BILINEAR, place.corners((0, 0, 150, 150)))
    inside = (slice(4, -4), slice(4, -4))  # Pillow's box cuts the filter at its border
    assert np.abs(applied(spec, picture)[inside] - np.asarray(alone)[inside].astype(np.float32)).max() <= 2.0


def test_points_and_corners_are_the_same_arithmetic():
    place = Placement(10.0, 20.0, 2.0, 3.0)
    assert place.corners((1, 2, 3, 4)) == (*place.point(1, 2), *place.point(3, 4)) == (12.0, 26.0, 16.0, 32.0)


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_a_picture_without_a_pixel_is_refused_in_one_line(size):
    with pytest.raises(DataError, match=r"expected a picture with at least one pixel, found \d x \d"):
        placement(plain(4, 4), *size)
