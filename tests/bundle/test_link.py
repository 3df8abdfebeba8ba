"""A link to a bundle that is set to another one while the bundle is read: no two bundles mix."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

from edgekit.bundle import read_signed, verify
from edgekit.bundle.link import following
from edgekit.errors import EdgekitError, IntegrityError
from edgekit.runtime import Session
from tests.install.bundles import mark_of, tiny


def point(link: Path, folder: Path) -> None:
    aside = link.with_name("aside")
    aside.symlink_to(folder)
    aside.replace(link)


@pytest.fixture
def link(tmp_path) -> Path:
    """`current`, which leads to A; B stands beside it."""
    for mark in "AB":
        tiny(tmp_path / mark, mark)
    point(tmp_path / "current", tmp_path / "A")
    return tmp_path / "current"


def test_a_path_without_links_is_passed_on_as_it_is(link, monkeypatch):
    monkeypatch.chdir(link.parent)
    assert following(Path("A"), str) == "A"
    assert following(link, str) == str(link.parent / "A")
    assert following(Path("current"), str) == str(link.parent / "A")
    (link.parent / "through").symlink_to(link.parent)
    assert following(Path("through/current"), str) == str(link.parent / "A")


def test_the_link_is_followed_once(link):
    def read(folder):
        point(link, link.parent / "B")
        return mark_of(folder)

    assert following(link, read) == "A"
    assert mark_of(link) == "B"


@pytest.mark.parametrize("error", [IntegrityError("gone"), FileNotFoundError(2, "gone")])
def test_what_went_away_under_its_hands_is_read_where_the_link_leads_now(link, error):
    def read(folder):
        if folder.name == "A":
            point(link, link.parent / "B")
            shutil.rmtree(folder)
            raise error
        return mark_of(folder)

    assert following(link, read) == "B"


def test_a_folder_that_another_one_took_the_place_of_is_read_anew(link):
    """As a deploy does it, in the place that an app has open: no link is in between."""
    tries = []

    def read(folder):
        tries.append(mark_of(folder))
        if len(tries) == 1:
            tiny(folder, "C")
            raise IntegrityError("gone")
        return mark_of(folder)

    assert following(link.parent / "A", read) == "C"
    assert tries == ["A", "C"]


def test_one_of_the_same_name_that_was_put_there_anew_is_read_anew(link):
    tries = []

    def read(folder):
        tries.append(folder)
        if len(tries) == 1:
            folder.rename(link.parent / "old")
            tiny(folder, "C")
            raise IntegrityError("gone")
        return mark_of(folder)

    assert following(link, read) == "C"


@pytest.mark.parametrize("name", ["A", "current", "nowhere", "loop"])
def test_an_error_of_the_bundle_itself_is_told_at_once(link, name):
    (link.parent / "loop").symlink_to("loop")
    tries = []

    def read(folder):
        tries.append(folder)
        raise EdgekitError("expected a good one")

    with pytest.raises(EdgekitError, match="a good one"):
        following(link.parent / name, read)
    assert len(tries) == 1


def test_an_error_that_is_none_of_the_files_is_not_tried_again(link):
    def read(folder):
        point(link, link.parent / "B")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        following(link, read)


def test_verify_reads_one_bundle(link, monkeypatch):
    """The link is set to another one behind the manifest."""
    module = sys.modules["edgekit.bundle.verify"]  # whose name in the package is that of the function
    real = module.read_signed

    def switched(folder, trust):
        found = real(folder, trust)
        point(link, link.parent / "B")
        return found

    monkeypatch.setattr(module, "read_signed", switched)
    verified = verify(link, keep={"labels.txt"})
    assert (verified.manifest.verdict, verified.contents) == ("PASS A", {"labels.txt": b"A labels"})
    assert mark_of(link) == "B"


def test_a_session_opens_one_bundle(small_bundle, tmp_path, monkeypatch):
    from edgekit.runtime import opening

    link, other = tmp_path / "current", tiny(tmp_path / "B", "B")
    link.symlink_to(small_bundle)

    def switched(folder, trust):
        found = read_signed(folder, trust)
        point(link, other)
        return found

    monkeypatch.setattr(opening, "read_signed", switched)
    with Session.open(link) as session:
        assert list(session.inputs) == ["image"]
        session.warmup()
    assert mark_of(link) == "B"
