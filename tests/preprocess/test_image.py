"""edgekit.preprocess.image against Pillow: `Image.resize` of the whole picture, then a crop, is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgekit.errors import DataError, ShapeError
from edgekit.preprocess.image import _taps, apply
from edgekit.specs import ImagePreprocess

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
PICTURES = ("chelsea", "coffee", "camera", "astronaut")
# float32 sums of weights that add up to one, over values up to 255: a few units in the last place.
FLOAT_TOLERANCE = 2e-4


def plain(resize: int, crop: int, interpolation: str = "bilinear", **more) -> ImagePreprocess:
    """A spec that leaves the pixel values alone."""
    channels = 1 if more.get("colour") == "GRAY" else 3
    return ImagePreprocess("image", "x", resize, crop, (0.0,) * channels, (1.0,) * channels, interpolation, **more)


def applied(spec: ImagePreprocess, image: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    channels, side = len(spec.mean), spec.crop
    out = np.full((channels, side, side) if spec.layout == "NCHW" else (side, side, channels), np.nan, dtype)
    apply(spec, image, out)
    return out


def resized_whole(image: Image.Image, spec: ImagePreprocess) -> np.ndarray:
    """Pillow's picture at the size of torchvision's Resize, cropped as torchvision's CenterCrop."""
    shorter = min(image.size)
    width, height = (int(spec.resize * side / shorter) for side in image.size)
    whole = np.asarray(image.resize((width, height), FILTERS[spec.interpolation]))
    top, left = round((height - spec.crop) / 2.0), round((width - spec.crop) / 2.0)
    return whole[top : top + spec.crop, left : left + spec.crop]


def pillow_float(image: np.ndarray, spec: ImagePreprocess) -> np.ndarray:
    """[crop, crop, C] float32 by Pillow's mode F, which does not round; clipped as bicubic pixels are."""
    channels = image[:, :, None] if image.ndim == 2 else image
    planes = [Image.fromarray(channels[:, :, index].astype(np.float32)) for index in range(channels.shape[2])]
    return np.clip(np.stack([resized_whole(plane, spec) for plane in planes], axis=2), 0, 255)


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (64, 63), (600, 224), (300, 300)])
def test_photographs_equal_pillow(name, interpolation, resize, crop):
    image, spec = getattr(skimage.data, name)(), plain(resize, crop, interpolation, layout="NHWC")
    got = applied(spec, image)
    np.testing.assert_allclose(got, np.broadcast_to(pillow_float(image, spec), got.shape), atol=FLOAT_TOLERANCE)
    rounded = resized_whole(Image.fromarray(image).convert("RGB"), spec).astype(np.float32)
    # Pillow rounds each of its two passes to 8 bits, and clips bicubic's overshoot after the first one too: that is
    # several levels on a few pixels beside black or white.
    difference = np.abs(got - rounded)
    assert (difference.max() if interpolation == "bilinear" else np.quantile(difference, 0.999)) <= 2.5
    assert difference.mean() < 0.5


@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    resize=st.integers(1, 60),
    data=st.data(),
    interpolation=st.sampled_from(sorted(FILTERS)),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_size_equals_pillow(height, width, resize, data, interpolation, seed):
    crop = data.draw(st.integers(1, resize))
    gray = data.draw(st.booleans())
    shape = (height, width) if gray else (height, width, 3)
    image = np.random.default_rng(seed).integers(0, 2, shape).astype(np.uint8) * 255  # the hardest contrast
    spec = plain(resize, crop, interpolation, layout="NHWC")
    got = applied(spec, image)
    np.testing.assert_allclose(got, np.broadcast_to(pillow_float(image, spec), got.shape), atol=FLOAT_TOLERANCE)


def test_geometry_equals_torchvision():
    functional = pytest.importorskip("torchvision.transforms.functional")
    for height, width in [(300, 451), (451, 300), (33, 34), (1079, 1917), (256, 257), (500, 333)]:
        image = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
        spec = plain(256, 225, layout="NHWC")
        whole = functional.resize(Image.fromarray(image), 256, functional.InterpolationMode.BILINEAR)
        expected = np.asarray(functional.center_crop(whole, 225), np.float32)
        assert np.abs(applied(spec, image) - expected).max() <= 1.01


def test_normalisation_colour_and_layout():
    image = skimage.data.coffee()
    base = applied(plain(128, 96), image)
    mean, std = (np.array(values, np.float32) for values in IMAGENET)
    for colour, order in [("RGB", [0, 1, 2]), ("BGR", [2, 1, 0])]:
        expected = (base[order] - mean[:, None, None]) / std[:, None, None]
        planes = ImagePreprocess("image", "x", 128, 96, *IMAGENET, colour=colour)
        pixels = ImagePreprocess("image", "x", 128, 96, *IMAGENET, colour=colour, layout="NHWC")
        np.testing.assert_allclose(applied(planes, image), expected, atol=1e-5)
        np.testing.assert_array_equal(applied(pixels, image), applied(planes, image).transpose(1, 2, 0))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_gray_input_is_repeated_and_normalised_a_channel(layout):
    spec = ImagePreprocess("image", "x", 128, 96, (10.0, 20.0, 30.0), (1.0, 2.0, 4.0), layout=layout)
    camera = skimage.data.camera()
    np.testing.assert_array_equal(applied(spec, camera), applied(spec, np.repeat(camera[:, :, None], 3, axis=2)))


@pytest.mark.parametrize("interpolation", FILTERS)
def test_gray_output_is_the_bt601_luma(interpolation):
    image, spec = skimage.data.astronaut(), plain(200, 180, interpolation, colour="GRAY", layout="NHWC")
    luma = image.astype(np.float64) @ [0.299, 0.587, 0.114]
    got = applied(spec, image)
    np.testing.assert_allclose(got, pillow_float(luma, spec), atol=5e-4)
    rounded = resized_whole(Image.fromarray(image).convert("L"), spec)
    assert np.quantile(np.abs(got[:, :, 0] - rounded), 0.999) <= 2.0  # convert("L") rounds once more
    camera = skimage.data.camera()
    np.testing.assert_allclose(applied(spec, camera), pillow_float(camera, spec), atol=FLOAT_TOLERANCE)


def test_bicubic_overshoot_is_clipped():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = 255
    got = applied(plain(160, 160, "bicubic"), image)
    assert got.min() == 0
    assert got.max() == 255
    assert 0 < got[0, 80, 78] < 128


def test_same_size_copies_the_pixels_and_reads_one_tap():
    image = skimage.data.chelsea()[:, 70:370]
    for interpolation in FILTERS:
        got = applied(plain(300, 300, interpolation, layout="NHWC"), image)
        np.testing.assert_array_equal(got, image)
        assert {len(weight) for weight in _taps(300, 300, 0, 300, interpolation).weights} == {1}


def test_only_the_kept_region_is_read():
    image = skimage.data.coffee()
    changed = image.copy()
    changed[:20], changed[-20:], changed[:, :100], changed[:, -100:] = 0, 255, 0, 255
    spec = plain(400, 200)
    np.testing.assert_array_equal(applied(spec, image), applied(spec, changed))
    taps = _taps(1920, 455, 116, 224, "bilinear")
    assert taps.last - taps.first < 1920 * 224 / 455 + 12
    thin = np.arange(3000, dtype=np.uint8)[None].repeat(2, axis=0)  # whole, it would be 384,000 pixels wide
    assert np.isfinite(applied(plain(256, 224), thin)).all()


def test_writes_into_a_view_of_a_batch_and_reads_views():
    image, spec = skimage.data.chelsea(), ImagePreprocess("image", "x", 256, 224, *IMAGENET)
    batch = np.full((3, 3, 224, 224), -7, np.float32)
    apply(spec, image[:, ::-1], batch[1])
    np.testing.assert_array_equal(batch[1], applied(spec, np.ascontiguousarray(image[:, ::-1])))
    assert (batch[[0, 2]] == -7).all()
    frozen = image.copy()
    frozen.flags.writeable = False
    apply(spec, frozen, batch[0])
    np.testing.assert_array_equal(frozen, image)


def test_float16_is_the_float32_result_rounded_once():
    image, spec = skimage.data.chelsea(), ImagePreprocess("image", "x", 256, 224, *IMAGENET)
    np.testing.assert_array_equal(applied(spec, image, np.float16), applied(spec, image).astype(np.float16))


def test_weights_are_computed_once_a_camera():
    spec, image = plain(48, 40), skimage.data.chelsea()
    applied(spec, image)
    before = _taps.cache_info()
    for _ in range(3):
        applied(spec, image)
    assert _taps.cache_info().misses == before.misses
    assert _taps.cache_info().maxsize is not None


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((8, 8, 4), np.uint8), r"uint8\[8, 8, 4\]; next: image\[:, :, :3\]"),
        (np.zeros((8, 8, 1), np.uint8), r"uint8\[8, 8, 1\]"),
        (np.zeros((3, 8, 8), np.uint8), r"uint8\[3, 8, 8\]"),
        (np.zeros((8, 8, 3), np.float32), r"float32\[8, 8, 3\]"),
        (np.zeros(8, np.uint8), r"uint8\[8\]"),
        (np.zeros((1, 8, 8, 3), np.uint8), r"uint8\[1, 8, 8, 3\]"),
        (np.zeros((0, 8, 3), np.uint8), "at least one pixel"),
    ],
)
def test_a_wrong_picture_is_a_data_error(image, said):
    with pytest.raises(DataError, match=said):
        applied(plain(8, 8), image)


def test_a_wrong_out_is_a_shape_error():
    image, spec = np.zeros((8, 8, 3), np.uint8), plain(8, 8)
    frozen = np.zeros((3, 8, 8), np.float32)
    frozen.flags.writeable = False
    for out, said in [
        (np.zeros((8, 8, 3), np.float32), r"\[3, 8, 8\], found float32\[8, 8, 3\]"),
        (np.zeros((1, 3, 8, 8), np.float32), r"found float32\[1, 3, 8, 8\]"),
        (np.zeros((3, 8, 8), np.float64), "found float64"),
        (np.zeros((3, 8, 8), np.uint8), "found uint8"),
        (frozen, "read-only float32"),
    ]:
        with pytest.raises(ShapeError, match=said):
            apply(spec, image, out)
