"""Arrays in files: the samples asked for, a few at a time, or one line about what is wrong with the file."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.data import batches, open_data, write_npz
from edgekit.data.arrays import read_array, read_npz
from edgekit.data.samples import spread
from edgekit.errors import DataError
from edgekit.specs import TensorSpec

IMAGE = TensorSpec("image", "float32", ("batch", 3, 8, 8))
GAIN = TensorSpec("gain", "int64", ("batch",))
SERIES = TensorSpec("series", "float32", ("batch", "time", 2))
RANDOM = np.random.default_rng(0)
IMAGES, GAINS = RANDOM.normal(size=(13, 3, 8, 8)).astype(np.float32), np.arange(13)
GOOD = IMAGES[:2]


def read(source, inputs=(IMAGE,), size=4, limit=99):
    return list(batches(open_data(str(source), inputs, None), inputs, size, limit))


def refused(source, inputs=(IMAGE,), **how):
    with pytest.raises(DataError) as error:
        read(source, inputs, **how)
    assert "\n" not in str(error.value)
    return str(error.value)


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def folder_of_inputs(path, image):
    path.mkdir()
    np.save(path / "image.npy", image)
    np.save(path / "gain.npy", GAINS)


FORMS = {
    "stored.npz": lambda path: np.savez(path, image=IMAGES, gain=GAINS),
    "packed.npz": lambda path: np.savez_compressed(path, gain=GAINS, image=IMAGES),
    "fortran.npz": lambda path: np.savez(path, image=np.asfortranarray(IMAGES), gain=GAINS),
    "written.npz": lambda path: write_npz(path, {"image": IMAGES, "gain": GAINS}),
    "inputs": lambda path: folder_of_inputs(path, IMAGES),
    "fortran": lambda path: folder_of_inputs(path, np.asfortranarray(IMAGES)),
}


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    for name, make in FORMS.items():
        make(folder / name)
    return folder


@pytest.mark.parametrize("form", FORMS)
@given(size=st.integers(1, 15), limit=st.integers(1, 15))
def test_every_form_gives_the_samples_that_spread_picks(forms, form, size, limit):
    picks = spread(13, limit)
    found = read(forms / form, (IMAGE, GAIN), size, limit)
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    for key, wanted in (("image", IMAGES[picks]), ("gain", GAINS[picks])):
        np.testing.assert_array_equal(np.concatenate([batch.inputs[key] for batch in found]), wanted)
    assert np.concatenate([batch.index for batch in found]).tolist() == picks.tolist()


@pytest.mark.parametrize("form", FORMS)
def test_what_is_known_before_reading(forms, form):
    data = open_data(str(forms / form), (IMAGE, GAIN), None)
    assert (data.what, data.count, data.labels, data.names) == (f"13 samples of {form}", 13, None, ())


def test_a_folder_of_recordings_of_different_lengths(tmp_path):
    recordings = {"a": (5, 7), "b": (4, 9), "c": (3, 9)}
    for name, (count, time) in recordings.items():
        saved(tmp_path / f"{name}.npz", series=np.full((count, time, 2), ord(name), np.float32))
    found = read(tmp_path, (SERIES,), size=4)
    assert [batch.inputs["series"].shape for batch in found] == [(4, 7, 2), (1, 7, 2), (4, 9, 2), (3, 9, 2)]
    assert np.concatenate([batch.index for batch in found]).tolist() == list(range(12))
    assert [chr(int(batch.inputs["series"][0, 0, 0])) for batch in found] == ["a", "a", "b", "c"]
    assert open_data(str(tmp_path), (SERIES,), None).what == f"12 samples of 3 files in {tmp_path}"


def test_a_limit_takes_from_every_file(tmp_path):
    for name in "abc":
        saved(tmp_path / f"{name}.npz", image=np.full((40, 3, 8, 8), ord(name), np.float32))
    (found,) = read(tmp_path, size=9, limit=6)
    assert found.index.tolist() == [0, 20, 40, 60, 80, 100]
    assert [chr(int(value)) for value in found.inputs["image"][:, 0, 0, 0]] == list("aabbcc")


def test_a_fixed_batch_fills_up_across_files(tmp_path):
    for number in range(3):
        saved(tmp_path / f"{number}.npz", image=IMAGES[:3] + number)
    found = read(tmp_path, (TensorSpec("image", "float32", (4, 3, 8, 8)),), size=1)
    assert [batch.index.tolist() for batch in found] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    np.testing.assert_array_equal(found[0].inputs["image"][3], IMAGES[0] + 1)


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_files_are_samples_with_or_without_a_batch_axis(tmp_path, order):
    (tmp_path / "day").mkdir()
    np.save(tmp_path / "a.npy", np.asarray(IMAGES[0], order=order))
    np.save(tmp_path / "day" / "b.npy", np.asarray(IMAGES[1:4], order=order))
    (found,) = read(tmp_path, size=9)
    np.testing.assert_array_equal(found.inputs["image"], IMAGES[:4])


@pytest.mark.parametrize("name", ["image.npy", "any.npy"])
@pytest.mark.parametrize("rows", [0, slice(3)])
def test_one_npy_file_whatever_its_name(tmp_path, name, rows):
    np.save(tmp_path / name, IMAGES[rows])
    for source in (tmp_path / name, tmp_path):
        (found,) = read(source)
        np.testing.assert_array_equal(found.inputs["image"], IMAGES[rows].reshape(-1, 3, 8, 8))


def test_several_inputs_need_a_file_each(tmp_path):
    np.save(tmp_path / "image.npy", GOOD)
    np.save(tmp_path / "gian.npy", np.arange(2))
    says = f"expected one .npy for each input in {tmp_path}, gain, image, found gian.npy and 1 others"
    assert says in refused(tmp_path, (IMAGE, GAIN))
    assert "gain, image, found image.npy and 0 others" in refused(tmp_path / "image.npy", (IMAGE, GAIN))


def test_two_kinds_of_array_files_in_one_folder(tmp_path):
    saved(tmp_path / "a.npz", image=GOOD)
    np.save(tmp_path / "b.npy", GOOD)
    assert "expected either .npz or .npy files" in refused(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"imag": GOOD}, "did you mean 'image'?"),
        ({}, "expected an array 'image', found none"),
        ({"image": GOOD.astype(np.float64)}, "found float64[2, 3, 8, 8]"),
        ({"image": GOOD.astype(">f4")}, "found >f4[2, 3, 8, 8]"),
        ({"image": GOOD[:, :2]}, "found float32[2, 2, 8, 8]"),
        ({"image": GOOD[0]}, "found float32[3, 8, 8]"),
        ({"image": GOOD[:0]}, "expected the same number of samples for every input, and at least one"),
        ({"image": np.float32(1)}, "expected an .npz of plain arrays"),
        ({"image": np.array([{}])}, "found: Python objects"),
        ({"image": GOOD * np.float32(np.nan)}, "found NaN or Inf in sample 0"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, says):
    assert says in refused(saved(tmp_path / "data.npz", **arrays))


def test_unequal_counts(tmp_path):
    source = saved(tmp_path / "data.npz", image=GOOD, gain=np.arange(3))
    assert "the same number of samples" in refused(source, (IMAGE, GAIN))
    folder_of_inputs(tmp_path / "inputs", GOOD)
    assert "found {'gain': 13, 'image': 2}" in refused(tmp_path / "inputs", (IMAGE, GAIN))


def test_a_recording_without_values(tmp_path):
    source = saved(tmp_path / "data.npz", series=np.ones((2, 0, 2), np.float32))
    assert "found samples without values, [2, 0, 2]" in refused(source, (SERIES,))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, 0.99])
def test_a_truncated_file(forms, tmp_path, form, keep):
    source = forms / form
    if source.is_dir():
        folder_of_inputs(tmp_path / form, GOOD)
        source = source / "image.npy"
    whole = source.read_bytes()
    damaged = tmp_path / source.relative_to(forms)
    damaged.write_bytes(whole[: keep if isinstance(keep, int) else int(len(whole) * keep)])
    assert str(tmp_path / form) in refused(tmp_path / form, (IMAGE, GAIN))


@pytest.mark.parametrize("form", ["stored.npz", "packed.npz", "fortran.npz"])
def test_a_flipped_bit_breaks_the_checksum(forms, tmp_path, form):
    damaged = bytearray((forms / form).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / form).write_bytes(damaged)
    assert "expected whole arrays in" in refused(tmp_path / form, (IMAGE, GAIN))


@pytest.mark.parametrize("content", [b"", b"image", b"\x93NUMPY\x01\x00\x76\x00{'descr'", np.array([{}])])
def test_an_npy_of_something_else(tmp_path, content):
    if isinstance(content, bytes):
        (tmp_path / "a.npy").write_bytes(content)
    else:
        np.save(tmp_path / "a.npy", content, allow_pickle=True)
    assert f"expected a plain array in {tmp_path / 'a.npy'}" in refused(tmp_path)


def test_an_array_under_the_name_of_an_archive(tmp_path):
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, GOOD)
    assert "expected an .npz of plain arrays at" in refused(tmp_path / "one.npz")


def test_a_file_that_went_away_after_it_was_opened(tmp_path):
    data = open_data(str(saved(tmp_path / "data.npz", image=GOOD)), (IMAGE,), None)
    (tmp_path / "data.npz").unlink()
    with pytest.raises(DataError, match=r"expected whole arrays in .*data\.npz, found: "):
        list(batches(data, (IMAGE,), 1, 9))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_large_file_is_never_held_whole(tmp_path, save):
    """64 MB in batches of 1 MB."""
    save(tmp_path / "large.npz", image=np.ones((64, 1 << 18), np.float32))
    spec = TensorSpec("image", "float32", ("batch", 1 << 18))
    tracemalloc.start()
    try:
        stream = batches(open_data(str(tmp_path / "large.npz"), (spec,), None), (spec,), 1, 64)
        assert sum(len(batch) for batch in stream) == 64
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_any_name_can_be_written_and_read():
    """`np.savez` keeps `file` for itself."""
    arrays = {"file": np.arange(3), "gpu_0/data:0": GOOD, "fortran": np.asfortranarray(GOOD)}
    memory = io.BytesIO()
    write_npz(memory, arrays)
    memory.seek(0)
    found = read_npz(memory)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_one_array_is_read_from_either_form_and_nothing_else(tmp_path):
    np.save(tmp_path / "a.npy", GAINS)
    for source in (tmp_path / "a.npy", saved(tmp_path / "a.npz", any=GAINS)):
        np.testing.assert_array_equal(read_array(source), GAINS)
    (tmp_path / "text").write_text("1, 2")
    for source in (saved(tmp_path / "two.npz", a=GAINS, b=GAINS), tmp_path / "text", tmp_path / "none", tmp_path):
        with pytest.raises(DataError, match="expected one plain array in"):
            read_array(source)
