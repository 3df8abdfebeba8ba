"""Pictures that become JPEGs, taken apart again by Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from edgekit.data.jpeg import jpeg_of

skimage_data = pytest.importorskip("skimage.data")


def decoded(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    return np.asarray(image)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "camera"])
def test_a_small_photograph_keeps_its_size_and_its_looks(name):
    picture = getattr(skimage_data, name)()
    found = decoded(jpeg_of(picture))
    assert found.shape == picture.shape
    assert np.abs(found.astype(int) - picture).mean() < 4


@pytest.mark.parametrize("size", [(3840, 2160), (1920, 1080), (1080, 1920), (961, 10), (4000, 1)])
def test_a_large_one_is_shrunk_and_still_the_same_picture(size):
    width, height = size
    whole = Image.fromarray(skimage_data.astronaut()).resize(size)
    data = jpeg_of(np.asarray(whole))
    found = decoded(data)
    factor = 960 / max(size)
    assert found.shape == (max(1, round(height * factor)), max(1, round(width * factor)), 3)
    wanted = np.asarray(whole.resize((found.shape[1], found.shape[0]), Image.Resampling.BOX)).astype(int)
    assert np.abs(found - wanted).mean() < (6 if min(size) > 10 else 30)  # a strip is all edges
    assert len(data) < 200_000


def test_a_view_is_read_as_it_stands_and_not_written():
    picture = skimage_data.astronaut()
    turned = picture[::-1, :, ::-1]
    turned.flags.writeable = False
    assert np.abs(decoded(jpeg_of(turned)).astype(int) - turned).mean() < 4


def test_a_smaller_limit_is_kept():
    assert max(decoded(jpeg_of(skimage_data.astronaut(), 100)).shape) == 100
