"""Data as people have it fits the model, or is refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgekit.data import batches, open_data, read_picture
from edgekit.errors import DataError
from edgekit.metrics import Sqnr
from edgekit.specs import Preprocess, TensorSpec

IMAGE = TensorSpec("image", "float32", ("batch", 3, 8, 8))
GAIN = TensorSpec("gain", "int64", ("batch",))
SPEC = Preprocess("image", "image", 8, 8, (0.0,) * 3, (255.0,) * 3)


def saved(path, **arrays):
    np.savez(path / "data.npz", **arrays)
    return str(path / "data.npz")


def test_batches_of_an_npz(tmp_path):
    image, gain = np.random.default_rng(0).normal(size=(7, 3, 8, 8)).astype(np.float32), np.arange(7)
    data = open_data(saved(tmp_path, image=image, gain=gain), (IMAGE, GAIN), None)
    found = list(batches(data, 3, 5))
    assert [len(batch["image"]) for batch in found] == [3, 2]
    np.testing.assert_array_equal(np.concatenate([batch["image"] for batch in found]), image[:5])
    np.testing.assert_array_equal(np.concatenate([batch["gain"] for batch in found]), gain[:5])


GOOD = np.ones((2, 3, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"imag": GOOD}, "did you mean 'image'?"),
        ({}, "expected an array 'image', found none"),
        ({"image": GOOD.astype(np.float64)}, "found float64[2, 3, 8, 8]"),
        ({"image": GOOD[:, :2]}, "found float32[2, 2, 8, 8]"),
        ({"image": GOOD * np.nan}, "found NaN or Inf"),
        ({"image": GOOD[:0]}, "expected the same number of samples"),
        ({"image": np.array([{}])}, "expected an .npz of plain arrays"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, says):
    with pytest.raises(DataError) as error:
        open_data(saved(tmp_path, **arrays), (IMAGE,), None)
    assert says in str(error.value)


def test_unequal_counts_and_a_truncated_file(tmp_path):
    with pytest.raises(DataError, match="same number of samples"):
        open_data(saved(tmp_path, image=GOOD, gain=np.arange(3)), (IMAGE, GAIN), None)
    whole = (tmp_path / "data.npz").read_bytes()
    (tmp_path / "data.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"expected an \.npz"):
        open_data(str(tmp_path / "data.npz"), (IMAGE,), None)


def test_pictures(tmp_path):
    for name, value in (("a.png", 0), ("b.JPG", 255), ("sub/c.png", 51)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 12), (value,) * 3).save(tmp_path / name, "png" if name.endswith("png") else "jpeg")
    (tmp_path / "notes.txt").write_text("not a picture")
    data = open_data(str(tmp_path), (IMAGE,), SPEC)
    batch = data.read(0, len(data))["image"]
    assert batch.shape == (3, 3, 8, 8)
    np.testing.assert_allclose(batch[:, 0, 0, 0], [0, 1, 0.2], atol=1e-6)


def test_pictures_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match="found none"):
        open_data(str(tmp_path), (IMAGE,), SPEC)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 50)
    with pytest.raises(DataError, match="found no preprocessing"):
        open_data(str(tmp_path), (IMAGE,), None)
    with pytest.raises(DataError, match="one input 'image'"):
        open_data(str(tmp_path), (IMAGE, GAIN), SPEC)
    with pytest.raises(DataError, match="expected a picture at"):
        open_data(str(tmp_path), (IMAGE,), SPEC).read(0, 1)


def test_a_picture_stands_upright(tmp_path):
    """EXIF orientation 6: the camera was turned, the first row of the file is the right edge of the scene."""
    image = Image.new("RGB", (4, 2))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").shape == (4, 2, 3)


def test_sqnr_against_the_definition():
    random = np.random.default_rng(0)
    reference, noise = random.normal(size=(2, 1000)).astype(np.float32)
    found = reference + noise * np.float32(0.01)
    meter = Sqnr()
    meter.add(reference[:300], found[:300])
    meter.add(reference[300:], found[300:])
    exact = reference.astype(np.float64)
    wanted = 10 * np.log10((exact**2).sum() / ((exact - found) ** 2).sum())
    assert meter.db() == pytest.approx(wanted, abs=1e-9)


def test_sqnr_at_its_ends():
    equal, broken, silent = Sqnr(), Sqnr(), Sqnr()
    equal.add(np.ones(3), np.ones(3))
    broken.add(np.ones(3), np.array([1, np.nan, 1]))
    silent.add(np.zeros(3), np.ones(3))
    assert [meter.db() for meter in (equal, broken, silent)] == [np.inf, -np.inf, -np.inf]


def test_an_array_under_the_name_of_an_archive_and_a_missing_file_are_refused(tmp_path):
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, GOOD)
    for name, says in (("one.npz", "expected an .npz of plain arrays"), ("none.npz", "found nothing there")):
        with pytest.raises(DataError) as error:
            open_data(str(tmp_path / name), (IMAGE,), None)
        assert says in str(error.value)
        assert "\n" not in str(error.value)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 12))
def test_batches_hold_each_sample_once_and_in_order(count, size, limit):
    class Counted:
        what = "numbers"

        def __len__(self) -> int:
            return count

        def read(self, start: int, stop: int) -> dict:
            return {"x": np.arange(start, stop)}

    found = [batch["x"].tolist() for batch in batches(Counted(), size, limit)]
    assert [number for batch in found for number in batch] == list(range(min(count, limit)))
    assert all(len(batch) == size for batch in found[:-1])
    assert all(0 < len(batch) <= size for batch in found)


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
