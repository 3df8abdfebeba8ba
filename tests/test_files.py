"""Outputs appear whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import functools
import hashlib
import itertools
import os
from pathlib import Path

import pytest

from edgekit.errors import OutputError
from edgekit.files import (
    all_written_aside,
    check_apart,
    folder_written_aside,
    json_bytes,
    put_in_place,
    sha256_of,
    written_aside,
)
from tests.install.bundles import patched
from tests.install.test_install import crashes

bundle_folder = functools.partial(folder_written_aside, marker="inside")


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("earlier", [None, "earlier"])
def test_a_failure_leaves_what_was_there(tmp_path, failure, earlier):
    file, folder = tmp_path / "file", tmp_path / "folder"
    if earlier:
        file.write_text(earlier)
        folder.mkdir()
        (folder / "inside").write_text(earlier)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(failure), written_aside(file) as partial:
        partial.write_text("half")
        raise failure
    with pytest.raises(failure), bundle_folder(folder) as partial:
        (partial / "inside").write_text("half")
        raise failure
    assert sorted(tmp_path.rglob("*")) == before
    if earlier:
        assert (file.read_text(), (folder / "inside").read_text()) == (earlier, earlier)


def test_success_replaces_the_whole(tmp_path):
    folder = tmp_path / "new" / "folder"
    for content in ("one", "two"):
        with folder_written_aside(folder, marker="one") as partial:
            (partial / content).write_text(content)
    assert [path.name for path in folder.iterdir()] == ["two"]
    with written_aside(tmp_path / "new" / "file") as partial:
        partial.write_text("whole")
        assert not (tmp_path / "new" / "file").exists()
    assert (tmp_path / "new" / "file").read_text() == "whole"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["file", "folder"]


def test_two_writers_at_once_do_not_meet(tmp_path):
    with written_aside(tmp_path / "a") as first, written_aside(tmp_path / "a") as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a").read_text() == "first", "the outer one is renamed last"


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for out, manager in (
        (tmp_path / "file" / "below", written_aside),
        (tmp_path / "folder", written_aside),
        (tmp_path / "file" / "below", bundle_folder),
        (tmp_path / "file", bundle_folder),
    ):
        with pytest.raises(OutputError, match="expected"), manager(out):
            pytest.fail("the work was started")


def test_digests_and_json(tmp_path):
    data = bytes(range(256)) * 9000
    (tmp_path / "a").write_bytes(data)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(data).hexdigest()
    assert json_bytes({"b": 1, "a": "é"}) == json_bytes({"a": "é", "b": 1}) == '{\n "a": "é",\n "b": 1\n}\n'.encode()


@pytest.fixture
def one_rename_after_the_other(monkeypatch):
    """A system whose folders cannot change places at once."""
    monkeypatch.setattr("edgekit.files._renamed", lambda *_: False)


@patched
@pytest.mark.parametrize("earlier", ["inside", "none", "empty"])
def test_killed_at_any_call_of_the_system_out_is_whole(tmp_path, monkeypatch, earlier):
    """At each in turn; what lies aside then counts for nothing, and to do it once more succeeds."""
    seen = places(tmp_path, monkeypatch, earlier)
    new = ["inside", "new"]
    # Where nothing was there the rename is the last call, and behind it no call is left to be killed at.
    wanted = {"inside": [["inside"], new], "none": [None], "empty": [[], new]}[earlier]
    assert sorted({str(item) for item in seen}) == sorted(map(str, wanted))


@patched
def test_killed_between_two_renames_the_earlier_one_lies_aside(tmp_path, monkeypatch, one_rename_after_the_other):
    """Which shows that the test above sees it, too."""
    assert None in places(tmp_path, monkeypatch, "inside")
    aside = [path for path in tmp_path.rglob("*.old.part") if (path / "inside").exists()]
    assert aside


def places(folder: Path, monkeypatch, earlier: str) -> list[list[str] | None]:
    """What `out` holds, None where it is gone, after each call of the system behind which the process was killed."""
    found: list[list[str] | None] = []
    for place in itertools.count():
        out = folder / str(place) / "out"
        out.parent.mkdir()
        if earlier != "none":
            out.mkdir()
        if earlier == "inside":
            (out / "inside").write_text("x")

        def work(out=out) -> None:
            with bundle_folder(out) as partial:
                for name in ("inside", "new"):
                    (partial / name).write_text("x")

        if not crashes(monkeypatch, work, place):
            break
        found.append(sorted(path.name for path in out.iterdir()) if out.exists() else None)
        work()
        assert sorted(path.name for path in out.iterdir()) == ["inside", "new"]
    assert len(found) >= 3, "that many there are at least"
    return found


def test_two_writers_of_one_folder_leave_one_of_the_two(tmp_path):
    with bundle_folder(tmp_path / "a") as first, bundle_folder(tmp_path / "a") as second:
        for partial, text in ((first, "first"), (second, "second")):
            (partial / "inside").write_text(text)
    assert (tmp_path / "a" / "inside").read_text() == "first", "the outer one comes last"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EXDEV])
def test_a_file_system_that_cannot_exchange_is_asked_in_the_old_way(tmp_path, monkeypatch, code):
    asked = refusing(monkeypatch, code)
    test_success_replaces_the_whole(tmp_path)
    assert asked == [2]


def test_an_exchange_that_fails_leaves_the_earlier_one(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "inside").write_text("earlier")
    refusing(monkeypatch, errno.EIO)
    with pytest.raises(OutputError, match="Input/output error"), bundle_folder(tmp_path / "a") as partial:
        (partial / "inside").write_text("new")
    assert (tmp_path / "a" / "inside").read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def refusing(monkeypatch, code: int) -> list[int]:
    """renameat2 as a system has it that refuses; the flags that it was asked for."""
    asked: list[int] = []

    class Library:
        def __init__(self, *_, **__): ...

        def renameat2(self, *arguments) -> int:
            asked.append(arguments[-1])
            ctypes.set_errno(code)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", Library)
    return asked


@pytest.mark.parametrize("without", [False, True])
def test_a_last_name_is_given_once(tmp_path, monkeypatch, without):
    """By one rename, and by a link where there is no such rename."""
    if without:
        refusing(monkeypatch, errno.EINVAL)
    for name in ("partial", "taken", "folder"):
        (tmp_path / name).mkdir() if name == "folder" else (tmp_path / name).write_text(name)
    (tmp_path / "nowhere").symlink_to("nothing")
    for name in ("taken", "folder", "nowhere"):
        with pytest.raises(FileExistsError):
            put_in_place(tmp_path / "partial", tmp_path / name)
    assert (tmp_path / "taken").read_text() == "taken"
    put_in_place(tmp_path / "partial", tmp_path / "new")
    assert (tmp_path / "new").read_text() == "partial"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "new", "nowhere", "taken"]


@pytest.mark.parametrize("content", [{"inside": "earlier"}, {}])
def test_a_folder_that_cannot_be_put_in_place_brings_the_earlier_one_back(
    tmp_path, monkeypatch, content, one_rename_after_the_other
):
    """The second of the two renames fails, when the earlier folder has already been moved aside."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text)
    rename = Path.rename

    def full_disk(self: Path, target: Path) -> Path:
        if target == folder and not self.name.endswith(".old.part"):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full_disk)
        with pytest.raises(OutputError, match="No space left on device"), bundle_folder(folder) as partial:
            (partial / "new").write_text("x")
    assert {path.name: path.read_text() for path in folder.iterdir()} == content
    assert list(tmp_path.iterdir()) == [folder]


def test_an_unwritable_place_is_one_line_with_a_next_step(tmp_path):
    (tmp_path / "file").write_text("x")
    for manager in (written_aside, bundle_folder):
        with pytest.raises(OutputError) as error, manager(tmp_path / "file" / "below"):
            pytest.fail("the work was started")
        assert "\n" not in str(error.value)
        assert str(tmp_path / "file" / "below") in str(error.value)
        assert error.value.next_step == "another OUT"


def test_what_is_not_ours_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("years of work")
    for out, manager in ((tmp_path / "pipe", written_aside), (tmp_path / "folder", bundle_folder)):
        with pytest.raises(OutputError, match="expected"), manager(out):
            pytest.fail("the work was started")
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "folder" / "thesis.txt").read_text() == "years of work"


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").symlink_to(tmp_path / "target")
    for _ in range(2):
        with bundle_folder(tmp_path / "link") as partial:
            (partial / "inside").write_text("x")
        with written_aside(tmp_path / "file") as partial:
            partial.write_text("x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "real", "target"]


def test_a_stage_does_not_replace_its_source(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OutputError, match="found the same"):
        check_apart(tmp_path / "a", tmp_path / "b")


def test_of_several_all_appear_or_none(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(ZeroDivisionError), all_written_aside(tmp_path / "source", [first, second]) as (one, other):
        one.write_text("x")
        other.write_text(str(1 // 0))
    assert list(tmp_path.iterdir()) == []
    with all_written_aside(tmp_path / "source", [first, second]) as (one, other):
        one.write_text("1")
        other.write_text("2")
    assert (first.read_text(), second.read_text(), len(list(tmp_path.iterdir()))) == ("1", "2", 2)


@pytest.mark.parametrize("outs", [("source",), ("a", "labels"), ("a", "a"), ("a", "b", "./a"), ("a", "link")])
def test_no_two_of_several_are_one(tmp_path, outs):
    (tmp_path / "link").symlink_to(tmp_path / "source")
    with (
        pytest.raises(OutputError, match="found the same"),
        all_written_aside(tmp_path / "source", [tmp_path / out for out in outs], [None, str(tmp_path / "labels")]),
    ):
        raise AssertionError("it began")
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_nothing_is_written_into_a_source(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "bundle")
    with (
        pytest.raises(OutputError, match=r"expected OUT outside of .*bundle, found .*page\.html"),
        all_written_aside(tmp_path / "bundle", [tmp_path / "link/deep/page.html"]),
    ):
        raise AssertionError("it began")
    assert list((tmp_path / "bundle").iterdir()) == []
