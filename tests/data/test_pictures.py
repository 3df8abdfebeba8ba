"""Pictures become samples as the recipe says, and stand upright."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgekit.data import batches, open_data, pictures, read_picture
from edgekit.errors import DataError
from edgekit.specs import ImagePreprocess, TensorSpec

IMAGE = TensorSpec("image", "float32", ("batch", 3, 8, 8))
GAIN = TensorSpec("gain", "int64", ("batch",))
SPEC = ImagePreprocess("image", "image", 8, 8, (0.0,) * 3, (255.0,) * 3)


def painted(path, *names):
    """Picture i is 20 x 12 of the value i."""
    for value, name in enumerate(names):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 12), (value,) * 3).save(path / name)
    return str(path)


def values(source, spec=SPEC, inputs=(IMAGE,), size=2, limit=99):
    """What `painted` wrote, as it arrives batch by batch."""
    found = list(batches(open_data(source, inputs, spec), inputs, size, limit))
    return [np.round(batch.inputs["image"][:, 0, 0, 0] * 255).tolist() for batch in found]


def test_pictures(tmp_path):
    for name, value in (("a.png", 0), ("b.JPG", 255), ("sub/c.png", 51)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 12), (value,) * 3).save(tmp_path / name, "png" if name.endswith("png") else "jpeg")
    (tmp_path / "notes.txt").write_text("not a picture")
    data = open_data(str(tmp_path), (IMAGE,), SPEC)
    assert data.names == ("a.png", "b.JPG", "sub/c.png")
    assert (data.count, data.what, data.labels) == (3, f"3 pictures of {tmp_path}", None)
    (found,) = batches(data, (IMAGE,), 8, 99)
    assert found.inputs["image"].shape == (3, 3, 8, 8)
    np.testing.assert_allclose(found.inputs["image"][:, 0, 0, 0], [0, 1, 0.2], atol=1e-6)
    assert found.index.tolist() == [0, 1, 2]


def test_a_limit_spreads_over_the_folders(tmp_path):
    source = painted(tmp_path, *(f"{folder}/{number}.png" for folder in "abc" for number in range(4)))
    assert values(source, limit=3) == [[0, 4], [8]]
    assert values(source, limit=12) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]


def test_a_fixed_batch_drops_the_rest(tmp_path):
    source = painted(tmp_path, "a.png", "b.png", "c.png")
    assert values(source, inputs=(TensorSpec("image", "float32", (2, 3, 8, 8)),), size=7) == [[0, 1]]


def test_one_picture(tmp_path):
    painted(tmp_path, "7/a.png", "7/b.png")
    data = open_data(str(tmp_path / "7" / "b.png"), (IMAGE,), SPEC)
    assert (data.names, data.labels) == (("b.png",), None)
    assert values(str(tmp_path / "7" / "b.png")) == [[1]]


def test_channels_last_and_gray(tmp_path):
    source = painted(tmp_path, "a.png", "b.png")
    gray = ImagePreprocess("image", "image", 8, 6, (0.0,), (255.0,), layout="NHWC", colour="GRAY")
    (found,) = batches(open_data(source, (TensorSpec("image", "float32", ("N", 6, 6, 1)),), gray), (
        TensorSpec("image", "float32", ("N", 6, 6, 1)),), 8, 8)  # fmt: skip
    np.testing.assert_allclose(found.inputs["image"][1], 1 / 255, atol=1e-7)


def test_a_folder_labels_what_is_in_it(tmp_path):
    painted(tmp_path, "cat/a.png", "dog/a.png", "dog/b.png")
    assert open_data(str(tmp_path), (IMAGE,), SPEC, ("dog", "cat")).labels.tolist() == [1, 0, 0]
    painted(tmp_path, "a.png")
    assert open_data(str(tmp_path), (IMAGE,), SPEC, ("dog", "cat")).labels is None


def test_what_other_tools_hide_is_no_picture(tmp_path):
    painted(tmp_path, "a.png")
    (tmp_path / "._a.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "folder.png").mkdir()
    assert pictures(tmp_path) == (tmp_path / "a.png",)


def test_pictures_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match="found none"):
        open_data(str(tmp_path), (IMAGE,), SPEC)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 50)
    with pytest.raises(DataError, match="found no preprocessing"):
        open_data(str(tmp_path), (IMAGE,), None)
    with pytest.raises(DataError, match="one input 'image'"):
        open_data(str(tmp_path), (IMAGE, GAIN), SPEC)
    with pytest.raises(DataError, match="one input 'image' for pictures, found gain"):
        open_data(str(tmp_path), (GAIN,), SPEC)
    with pytest.raises(DataError, match="expected a picture at") as error:
        values(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_recipe_for_another_size_of_model(tmp_path):
    source = painted(tmp_path, "a.png")
    with pytest.raises(DataError, match=r"expected float32\[N, 3, 9, 9\], found float32\[1, 3, 8, 8\]"):
        values(source, inputs=(TensorSpec("image", "float32", ("batch", 3, 9, 9)),))


@pytest.mark.parametrize("keep", [0, 20, 0.5])
def test_a_truncated_picture_is_named(tmp_path, keep):
    file = tmp_path / "a.jpg"
    Image.effect_noise((64, 64), 50).save(file)
    whole = file.read_bytes()
    file.write_bytes(whole[: keep if isinstance(keep, int) else int(len(whole) * keep)])
    with pytest.raises(DataError, match=r"expected a picture at .*a\.jpg, found: "):
        read_picture(file)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_a_picture_of_more_than_8_bits_is_refused(tmp_path, dtype):
    """Pillow would clip it: nearly all of a 16-bit picture becomes white."""
    Image.fromarray(np.full((4, 4), 300, dtype)).save(tmp_path / "deep.tif")
    with pytest.raises(DataError, match="more than 8 bits a channel"):
        read_picture(tmp_path / "deep.tif")


def test_a_picture_stands_upright(tmp_path):
    """EXIF orientation 6: the camera was turned, the first row of the file is the right edge of the scene."""
    image = Image.new("RGB", (4, 2))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").shape == (4, 2, 3)


@pytest.mark.parametrize(("mode", "colour", "expected"), [
    ("RGBA", (255, 0, 0, 0), (255, 0, 0)), ("L", 7, (7, 7, 7)), ("1", 1, (255, 255, 255)), ("LA", (9, 0), (9, 9, 9)),
])  # fmt: skip
def test_other_kinds_of_picture_become_rgb(tmp_path, mode, colour, expected):
    Image.new(mode, (3, 2), colour).save(tmp_path / "a.png")
    assert (read_picture(tmp_path / "a.png") == expected).all()


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (1, 2)), (6, (0, 1)), (8, (2, 0))])
def test_the_first_pixel_of_the_file_lands_where_exif_says(tmp_path, orientation, corner):
    """EXIF 2.3, table of Orientation: 3 turns by 180 degrees, 6 clockwise by 90, 8 counterclockwise by 90."""
    image = Image.new("RGB", (3, 2))
    image.putpixel((0, 0), (200, 100, 50))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    found = np.argwhere(read_picture(tmp_path / "a.png").any(axis=2))
    assert found.tolist() == [list(corner)]
