"""A bundle is opened anew as it was verified, or not at all: what runs is told from its numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgekit.bundle import archive, read_manifest
from edgekit.errors import IntegrityError
from edgekit.latency.beside import Company, beside
from edgekit.latency.child import Request
from edgekit.latency.cold_start import cold_starts
from edgekit.latency.pinned import Pinned, digest_of
from tests.validate.bundles import edited

X = np.random.default_rng(3).normal(size=(2, 3, 8, 8)).astype(np.float32)


def pinned(path: Path) -> Pinned:
    return Pinned(path, digest_of(read_manifest(path)))


@pytest.fixture(params=["folder", "archive"])
def two(request, small_bundle: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A bundle and another, which verifies as well; both are folders, or archives."""
    paths = shutil.copytree(small_bundle, tmp_path / "one"), edited(small_bundle, tmp_path / "two", verdict="another")
    if request.param == "folder":
        return paths
    for path in paths:
        archive(path, path.with_suffix(".ekb"))
    return paths[0].with_suffix(".ekb"), paths[1].with_suffix(".ekb")


def exchanged(first: Path, second: Path) -> None:
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def test_the_same_is_opened(two):
    with pinned(two[0]).session("auto") as session:
        assert session.run({"image": X})["logits"].shape == (2, 5)


def test_its_bytes_are_those_that_are_hashed(small_bundle):
    """The manifest has one form, so that its digest is that of the file."""
    import hashlib

    wanted = hashlib.sha256((small_bundle / "manifest.json").read_bytes()).hexdigest()
    assert pinned(small_bundle).manifest_sha256 == wanted


def test_another_one_in_its_place_is_refused(two):
    asked = pinned(two[0])
    exchanged(*two)
    with pytest.raises(IntegrityError, match="as it was when it was verified, found another; next: the same command"):
        asked.session("auto")
    exchanged(*two)
    asked.session("auto").close()


def test_a_process_of_its_own_refuses_it_too(two):
    asked = Request(pinned(two[0]), "ort", {"image": X}, ("logits",))
    exchanged(*two)
    with pytest.raises(IntegrityError, match="a new process to open the model and answer, found: expected the bundle"):
        cold_starts(asked, 1)
    with (
        pytest.raises(IntegrityError, match="to run beside until the end, found: expected the bundle"),
        beside([(Company(two[0], None), asked)]),
    ):
        raise AssertionError("it began")


def test_an_onnx_in_the_place_of_a_bundle_is_not_run(two, small_onnx):
    """Nobody has verified it: a process that is told of a bundle opens bundles only."""
    asked = Request(pinned(two[0]), "ort", {"image": X}, ("logits",))
    two[0].rename(two[0].with_name("aside"))
    shutil.copy(small_onnx, two[0])
    with pytest.raises(IntegrityError, match="expected an archive of a bundle"):
        cold_starts(asked, 1)


def test_the_demands_on_who_signed_it_go_along(small_bundle, tmp_path):
    demanding = Pinned(small_bundle, require_signature=True)
    with pytest.raises(IntegrityError, match="expected a signed bundle"):
        demanding.session("auto")
    with pytest.raises(IntegrityError, match="expected a signed bundle"):
        cold_starts(Request(demanding, "ort", {"image": X}, ("logits",)), 1)
    assert Pinned.of(demanding.table()) == Pinned(small_bundle, "", [], True)
