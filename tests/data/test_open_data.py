"""Which form of data stands at a path is told by what is there."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgekit.data import ArrayData, PictureData, batches, check_there, open_data
from edgekit.data.arrays import FolderData
from edgekit.data.generated import GeneratedData
from edgekit.errors import DataError
from edgekit.specs import ImagePreprocess, TensorSpec

IMAGE = TensorSpec("image", "float32", ("batch", 3, 8, 8))
SPEC = ImagePreprocess("image", "image", 8, 8, (0.0,) * 3, (255.0,) * 3)
GOOD = np.ones((2, 3, 8, 8), np.float32)


def refused(source, spec=SPEC):
    with pytest.raises(DataError) as error:
        open_data(str(source), (IMAGE,), spec)
    assert "\n" not in str(error.value)
    return str(error.value)


def fill(folder, *names):
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".npz":
            np.savez(file, image=GOOD)
        elif file.suffix == ".npy":
            np.save(file, GOOD)
        else:
            Image.new("RGB", (8, 8)).save(file)
    return folder


@pytest.mark.parametrize(
    ("files", "source", "kind"),
    [
        (["a.npz"], "a.npz", ArrayData),
        (["a.npy"], "a.npy", ArrayData),
        (["a.npz"], "", FolderData),
        (["deep/a.npy", "b.npy"], "", FolderData),
        (["image.npy"], "", ArrayData),
        (["a.png"], "a.png", PictureData),
        (["deep/a.webp", "b.bmp"], "", PictureData),
        (["2026-05-01T10:30/a.npz"], "2026-05-01T10:30", FolderData),
    ],
)
def test_a_path_is_opened_as_what_it_holds(tmp_path, files, source, kind):
    data = open_data(str(fill(tmp_path, *files) / source), (IMAGE,), SPEC)
    assert type(data) is kind
    assert sum(map(len, batches(data, (IMAGE,), 4, 99))) == data.count


def test_a_callable_is_opened_without_being_called():
    assert type(open_data("math:sqrt", (IMAGE,), None)) is GeneratedData
    check_there("nowhere:nothing")


def test_pictures_and_arrays_in_one_folder(tmp_path):
    fill(tmp_path, "a.png", "deep/b.npz")
    assert f"expected pictures or arrays in {tmp_path}, found both: a.png and b.npz" in refused(tmp_path)


def test_hidden_arrays_are_not_looked_at(tmp_path):
    fill(tmp_path, "a.png")
    (tmp_path / "._a.npz").write_bytes(b"\0\5\x16\7")
    assert open_data(str(tmp_path), (IMAGE,), SPEC).count == 1


@pytest.mark.parametrize("name", ["none", "none.npz", "none.npy", "none/"])
def test_nothing_is_there(tmp_path, name):
    assert "found nothing there; next: an .npz, a folder" in refused(tmp_path / name)
    with pytest.raises(DataError, match="found nothing there"):
        check_there(str(tmp_path / name))


def test_nothing_of_use_is_there(tmp_path):
    (tmp_path / "notes.txt").write_text("1, 2")
    for source in (tmp_path, tmp_path / "notes.txt"):
        assert f"at {source}, found none" in refused(source)
    (tmp_path / "folder.npz").mkdir()
    assert "expected an .npz of plain arrays at" in refused(tmp_path / "folder.npz")


def test_pictures_without_a_recipe(tmp_path):
    fill(tmp_path, "a.png")
    assert "found no preprocessing" in refused(tmp_path, None)
    assert "--recipe" in refused(tmp_path, None)


@pytest.mark.parametrize(
    "source", ["no_such_module:make", ":make", "none/file.py:make", "math:", "math:pi", "math:sqr"]
)
def test_a_callable_that_is_not_there(source):
    assert refused(source).startswith("expected ")
