"""What each sample really is, from an array, a table or the folders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.data import pick_labels, read_groups, read_labels
from edgekit.data.labels import folder_labels
from edgekit.errors import DataError

CLASSES = ("cat", "dog", "cow", "dog")


@dataclass
class Named:
    """Data of which only the samples' names matter."""

    names: tuple[str, ...] = ()
    count: int | None = 3
    what: str = "3 samples of a.npz"
    labels: None = None


PICTURES = Named(("a.png", "day/b.png", "night/b.png"))


def table(path, text, data=PICTURES, classes=CLASSES):
    (path / "labels.csv").write_text(text, "utf-8")
    return read_labels(path / "labels.csv", data, classes).tolist()


def refused(source, data=PICTURES, classes=CLASSES):
    with pytest.raises(DataError) as error:
        read_labels(source, data, classes)
    assert "\n" not in str(error.value)
    return str(error.value)


def refused_table(path, text, data=PICTURES, classes=CLASSES):
    (path / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return refused(path / "labels.csv", data, classes)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int32])
@pytest.mark.parametrize("shape", [(3,), (3, 5)])
def test_an_array_in_either_form(tmp_path, dtype, shape):
    wanted = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    np.save(tmp_path / "a.npy", wanted)
    np.savez(tmp_path / "a.npz", anything=wanted)
    for name in ("a.npy", "a.npz"):
        found = read_labels(tmp_path / name, Named(), ())
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.arange(2), "expected a label for each of 3 samples of a.npz, found 2"),
        (np.arange(4), "expected a label for each of 3 samples of a.npz, found 4"),
        (np.ones(3), "expected labels as int64 [N], found float64[3]"),
        (np.ones(3, bool), "found bool[3]"),
        (np.array(3), "found int64[]"),
        (np.array(["cat", "dog", "cow"]), "found <U3[3]"),
        (np.array([{}] * 3), "expected one plain array in"),
    ],
)
def test_an_array_that_does_not_fit(tmp_path, labels, says):
    np.save(tmp_path / "a.npy", labels, allow_pickle=True)
    assert says in refused(tmp_path / "a.npy", Named())


def test_a_stream_that_does_not_know_its_length_takes_what_is_there(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(9))
    assert len(read_labels(tmp_path / "a.npy", Named(count=None), ())) == 9
    assert table(tmp_path, "sample,label\n1,8\n0,7\n", Named(count=None), ()) == [7, 8]


def test_files_that_hold_no_labels(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.arange(3), b=np.arange(3))
    (tmp_path / "labels.txt").write_text("0\n1\n2\n")
    (tmp_path / "folder.csv").mkdir()
    assert "found: 2 arrays" in refused(tmp_path / "two.npz")
    assert "expected one plain array in" in refused(tmp_path / "labels.txt")
    assert "expected a CSV of labels at" in refused(tmp_path / "folder.csv")
    assert "found nothing there; next: --labels" in refused(tmp_path / "none.csv")


def test_samples_are_called_by_path_or_by_a_name_that_only_one_has(tmp_path):
    pictures = Named(("day/a.png", "day/b.png", "night/b.png"))
    assert table(tmp_path, "sample,label\nnight/b.png,cow\na.png,dog\nday/b.png,0\n", pictures) == [1, 0, 2]
    assert table(tmp_path, "sample,label\na.png,cow\nday/a.png,dog\nday/b.png,0\nnight/b.png,0\n", pictures)[0] == 1
    says = "expected a label for sample day/b.png, found none"
    assert says in refused_table(tmp_path, "sample,label\na.png,0\nb.png,0\n", pictures)


def test_samples_without_names_are_called_by_number(tmp_path):
    assert table(tmp_path, "sample,label\n2,0\n0,1\n1,cow\n", Named()) == [1, 2, 0]
    assert "for sample 1, found none" in refused_table(tmp_path, "sample,label\n0,1\n2,1\n", Named())


def test_a_class_is_its_name_before_its_number(tmp_path):
    """Of two classes of one name, the first."""
    rows = "sample,label\n0,dog\n1,3\n2,0\n"
    assert table(tmp_path, rows, Named()) == [1, 3, 0]
    assert table(tmp_path, rows, Named(), ("dog", "0", "3", "x")) == [0, 2, 1]
    assert table(tmp_path, "sample,label\n0,12\n1,3\n2,999\n", Named(), ()) == [12, 3, 999]


def test_what_spreadsheets_add_to_a_table(tmp_path):
    """A byte order mark, CRLF, quotes, blanks, more columns and more rows."""
    text = '\ufeffsample,who,label\r\na.png,me, cat \r\n\r\n"day/b.png",me,"dog"\r\n night/b.png,,1\r\nother.png,,x\r\n'
    assert table(tmp_path, text) == [0, 1, 1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected the columns sample and label, found no rows"),
        ("sample,label\n", "found no rows"),
        ("file,class\na.png,0\n", "expected the columns sample and label, found file, class"),
        ("sample;label\na.png;0\n", "found sample;label"),
        ("sample,label\na.png\n", "expected a class of the model, found ''"),
        ("sample,label\na.png,cta\n", "expected a class of the model, found 'cta'; did you mean 'cat'?"),
        ("sample,label\na.png,4\n", "expected a class of the model, found '4'"),
        ("sample,label\na.png,-1\n", "found '-1'"),
        ("sample,label\na.png,1.0\n", "found '1.0'"),
        ("sample,label\na.png,²\n", "found '²'"),
        ("sample,label\na.png," + "9" * 40 + "\n", "found '9999"),
        ("sample,label\na.png,cat\na.png,dog\n", "expected one label for sample a.png, found 'cat' and 'dog'"),
        ("sample,label\nday/b.png,cat\n", "expected a label for sample a.png, found none"),
        ('sample,label\n"a.png,0\n', "expected a CSV of labels at"),
        (b"sample,label\n\xff.png,0\n", "expected a CSV of labels at"),
        (b"\x93NUMPY\x01\x00\x76\x00\n{}", "expected a CSV of labels at"),
    ],
)
def test_a_table_that_does_not_fit(tmp_path, text, says):
    assert says in refused_table(tmp_path, text)


def test_without_class_names_a_label_is_a_number(tmp_path):
    rows = "sample,label\n0,cat\n1,0\n2,0\n"
    assert "the model names none, so a label is a number from 0" in refused_table(tmp_path, rows, Named(), ())
    assert "found '9999999999999999999'" in refused_table(tmp_path, f"sample,label\n0,{'9' * 19}\n", Named(), ())


def test_a_large_table_is_read_in_no_time(tmp_path):
    names = tuple(f"{number % 7}/{number}.png" for number in range(50_000))
    rows = "".join(f"{name},{number % 3}\n" for number, name in enumerate(names))
    assert table(tmp_path, "sample,label\n" + rows, Named(names)) == [number % 3 for number in range(50_000)]


@pytest.mark.parametrize(
    ("folders", "classes", "labels"),
    [
        (("cat", "dog"), ("dog", "cat"), [1, 0]),
        (("day/cat", "night/dog"), ("cat", "dog"), [0, 1]),
        (("cat/day", "dog/day"), ("cat", "dog"), None),
        (("0", "1"), ("cat", "dog"), [0, 1]),
        (("3", "7"), ("7", "3"), [1, 0]),
        (("12", "4"), (), [12, 4]),
        (("cat", "night"), ("cat", "dog"), None),
        (("1", "2"), ("cat", "dog"), None),
        (("cat", "dog"), (), None),
        (("2026-05-01", "2026-05-02"), (), None),
        (("20260501", "20260502"), (), None),
        (("1", "20260501103000123456"), (), None),
        (("1", "9" * 5000), (), None),
        ((), ("cat",), None),
    ],
)
def test_folders_label_only_when_all_are_classes(folders, classes, labels):
    """By name before number."""
    found = folder_labels(tuple(f"{folder}/a.png" for folder in folders), classes)
    assert labels == (found if found is None else found.tolist())
    assert found is None or found.dtype == np.int64


def test_a_picture_beside_the_folders_has_no_label():
    assert folder_labels(("cat/a.png", "b.png"), ("cat", "b.png")) is None


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.data())
def test_labels_are_picked_by_index(labels, data):
    index = data.draw(st.lists(st.integers(0, len(labels) - 1)))
    found = pick_labels(np.array(labels), np.array(index, np.int64))
    assert found.tolist() == [labels[sample] for sample in index]


def test_a_sample_beyond_the_labels():
    with pytest.raises(DataError, match="expected a label for sample 3, found 3 labels; next: --labels"):
        pick_labels(np.arange(3), np.array([0, 3]))


def groups(path, text, column, data=PICTURES):
    (path / "labels.csv").write_text(text, "utf-8")
    found = read_groups(path / "labels.csv", data, column)
    assert found.index.dtype == np.int64
    return found.names, found.index.tolist()


def test_a_column_slices_the_samples(tmp_path):
    """In the order of the data, not of the table; the names in their own."""
    rows = "sample,camera,label,light\nday/b.png,rear,dog,1\na.png,front,cat,2\nnight/b.png, rear ,cow,1\n"
    assert groups(tmp_path, rows, "camera") == (("front", "rear"), [0, 1, 1])
    assert groups(tmp_path, rows, "light") == (("1", "2"), [1, 0, 0])
    assert table(tmp_path, rows) == [0, 1, 2]


def test_what_is_not_filled_in_is_a_slice_of_its_own(tmp_path):
    """An empty cell, and a row that ends early."""
    rows = "sample,label,camera\n0,0,\n1,0,rear\n2,0\n"
    assert groups(tmp_path, rows, "camera", Named()) == (("(empty)", "rear"), [0, 1, 0])


def test_a_stream_that_does_not_know_its_length_has_slices_too(tmp_path):
    assert groups(tmp_path, "sample,label,at\n1,0,b\n0,0,a\n", "at", Named(count=None)) == (("a", "b"), [0, 1])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sample,label,camera\n0,0,a\n1,0,b\n2,0,c\n", "no column 'cam'; did you mean 'camera'?; next: --slices"),
        ("sample,label,cam\n0,0,a\n1,0,b\n", "expected a cam for sample 2, found none"),
        ("sample,label,cam\n0,0,a\n1,0,b\n2,0,c\n2,0,d\n", "expected one cam for sample 2, found 'c' and 'd'"),
        ("sample,cam\n0,a\n1,b\n2,c\n", "expected the columns sample and label, found sample, cam"),
    ],
)
def test_a_column_that_does_not_fit(tmp_path, text, says):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError) as error:
        read_groups(tmp_path / "labels.csv", Named(), "cam")
    assert says in str(error.value)
    assert "\n" not in str(error.value)
