"""What a copy does when the disk is full, the source cannot be read, or its bytes are others than the manifest's."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import resource
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest

from edgekit.bundle import Trust, archive
from edgekit.configs import InstallConfig
from edgekit.errors import EdgekitError, IntegrityError, OutputError
from edgekit.install import copying, install
from edgekit.install.copying import check_space
from edgekit.install.source import Source, read_source
from tests.install.bundles import names, state, tiny, well

Usage = namedtuple("Usage", "total used free")  # as shutil.disk_usage returns it


def put(bundle: Path, root: Path):
    return install(bundle, root, check=well)


def test_room_is_looked_for_first_and_both_numbers_are_told(bundles, root, monkeypatch):
    put(bundles["A"], root)
    block = os.statvfs(root).f_frsize
    sizes = [path.stat().st_size for path in bundles["B"].rglob("*") if path.is_file()]
    needed = sum((size + block - 1) // block * block for size in sizes) + (1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 0, needed - 1))
    with pytest.raises(OutputError) as error:
        put(bundles["B"], root)
    assert f"expected {needed} bytes free at {root}/versions for the bundle, found {needed - 1}; next: free" in str(
        error.value
    )
    assert (state(root), len(names(root))) == ({"current": "A"}, 1)
    put(bundles["A"], root)  # which needs no room
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 0, needed))
    put(bundles["B"], root)
    assert state(root) == {"current": "B", "previous": "A"}


def test_where_there_is_no_room_the_version_that_could_go_is_named(bundles, root, monkeypatch):
    put(bundles["A"], root)
    put(bundles["B"], root)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 0, 0 if len(names(root)) > 1 else 1 << 30))
        with pytest.raises(
            OutputError, match=f"; next: rm {root}/previous, after which no rollback is possible, or free"
        ):
            put(bundles["C"], root)
        (root / "previous").unlink()
        put(bundles["C"], root)
    assert state(root) == {"current": "C", "previous": "B"}


def test_what_is_left_over_makes_room_before_it_is_looked_for(bundles, root, monkeypatch):
    put(bundles["A"], root)
    left = root / "versions/.0123456789abcdef.part"
    left.mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 0, 0 if left.exists() else 1 << 30))
    put(bundles["B"], root)
    assert state(root)["current"] == "B"


@contextlib.contextmanager
def full_disk(memory: Path, root: Path, size: int):
    """ROOT on a file system that ends within the bundle: one of its own where this process may mount one."""
    root.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", root], capture_output=True).returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield
    finally:
        subprocess.run(["umount", root], check=True)


def test_a_disk_that_is_full_in_the_middle(tmp_path, memory, root, monkeypatch):
    """Somebody else took what had been free."""
    small, large = tiny(tmp_path / "small", "A", 100_000), tiny(tmp_path / "large", "B", 1_500_000)
    with full_disk(memory, root, 1_000_000):
        with pytest.raises(OutputError, match="bytes free at"):
            put(large, root)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 0, 1 << 39))
        put(small, root)
        with pytest.raises(OutputError, match=r"model\.onnx, found: No space left on device; next: free some space"):
            put(large, root)
        assert (state(root), len(names(root))) == ({"current": "A"}, 1)
        put(tiny(tmp_path / "other", "C", 100_000), root)
        assert state(root) == {"current": "C", "previous": "A"}


@contextlib.contextmanager
def at_most(size: int):
    """No file of this process grows beyond this: the kernel writes a part of the last block, then refuses."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_may_not_grow_so_far(bundles, tmp_path, root):
    """Its last block is written in part, and without an error."""
    put(bundles["A"], root)
    large = tiny(tmp_path / "large", "B", (1 << 20) + 500_000)
    with at_most((1 << 20) + 4321), pytest.raises(OutputError, match=r"model\.onnx, found: File too large"):
        put(large, root)
    assert (state(root), len(names(root))) == ({"current": "A"}, 1)
    put(large, root)
    assert state(root) == {"current": "B", "previous": "A"}


class Breaking(io.RawIOBase):
    """A file whose disk breaks after some bytes."""

    def __init__(self, data: bytes, code: int) -> None:
        self.left, self.code = io.BytesIO(data), code

    def read(self, size: int = -1) -> bytes:
        if block := self.left.read(min(size, 1000)):
            return block
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_bundle_that_cannot_be_read_to_its_end(bundles, root, monkeypatch, code):
    put(bundles["A"], root)
    real = Source.open

    @contextlib.contextmanager
    def breaks(self, name):
        with real(self, name) as file:
            yield Breaking(file.read()[:2000], code) if name == "model.onnx" else file

    monkeypatch.setattr(Source, "open", breaks)
    with pytest.raises(EdgekitError) as error:
        put(bundles["B"], root)
    assert f"read {bundles['B']}/model.onnx, found: {os.strerror(code)}; next: get the bundle" in str(error.value)
    assert (error.value.exit_code, state(root), len(names(root))) == (1, {"current": "A"}, 1)
    monkeypatch.undo()
    put(bundles["B"], root)
    assert state(root)["current"] == "B"


@pytest.mark.parametrize("gone", ["manifest.json", "."])
def test_a_bundle_whose_beginning_cannot_be_read(bundles, root, monkeypatch, gone):
    def refuses(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(*((Path, "open") if gone != "." else (os, "scandir")), refuses)
    with pytest.raises(EdgekitError, match=r"expected to be able to read .*, found: Permission denied"):
        put(bundles["B"], root)


def swap(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize(
    "damage",
    [
        swap,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes() + b"?"),
    ],
)
@pytest.mark.parametrize("name", ["model.onnx", "a/b/deep.txt"])
def test_other_bytes_than_the_manifests_never_become_current(bundles, root, damage, name):
    put(bundles["A"], root)
    damage(bundles["B"] / name)
    with pytest.raises(IntegrityError, match=f"in .*{name}, found others"):
        put(bundles["B"], root)
    assert (state(root), len(names(root))) == ({"current": "A"}, 1)


def test_a_file_that_grows_without_end_is_not_copied_without_end(bundles, root, monkeypatch):
    read = []

    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            read.append(size)
            assert len(read) < 10, "it goes on"
            return b"x" * size

    @contextlib.contextmanager
    def opened(self, name):
        yield Endless()

    monkeypatch.setattr(Source, "open", opened)
    with pytest.raises(IntegrityError):
        put(bundles["A"], root)
    assert len(read) == 1


def test_a_file_that_vanishes_before_it_is_copied(bundles, root):
    source = read_source(bundles["A"], Trust())
    shutil.rmtree(bundles["A"] / "a")
    with pytest.raises(IntegrityError, match=r"expected a/b/deep\.txt in"):
        put(bundles["A"], root)
    check_space(source, bundles["B"], root / "previous")


def test_a_version_is_named_by_its_manifest(bundles):
    source = read_source(bundles["A"], Trust())
    assert source.digest == hashlib.sha256((bundles["A"] / "manifest.json").read_bytes()).hexdigest()[:16]


@pytest.fixture
def archives(bundles, tmp_path) -> dict[str, Path]:
    """The three as files."""
    made = {mark: tmp_path / f"{mark}.ekb" for mark in bundles}
    for mark, bundle in bundles.items():
        archive(bundle, made[mark])
    return made


def test_an_archive_becomes_the_very_version_that_its_folder_does(bundles, archives, root):
    first = put(archives["A"], root)
    assert (state(root), names(root)) == ({"current": "A"}, [first.version])
    assert put(bundles["A"], root).replaced == first.version, "it is current already"
    put(archives["B"], root)
    assert state(root) == {"current": "B", "previous": "A"}
    for path in bundles["B"].rglob("*.*"):
        assert (root / "current" / path.relative_to(bundles["B"])).read_bytes() == path.read_bytes()


def test_a_signed_archive_is_the_version_of_its_signed_folder(bundles, root, tmp_path):
    pytest.importorskip("cryptography", reason="signatures need the extra sign")
    from edgekit.bundle import make_keys, sign

    for name in ("one", "two"):
        make_keys(tmp_path / name)
        sign(bundles["A"], tmp_path / name)
    archive(bundles["A"], tmp_path / "signed.ekb")
    config = InstallConfig(trusted_keys=(str(tmp_path / "two.pub"),), require_signature=True)
    version = install(tmp_path / "signed.ekb", root, config, check=well).version
    assert put(bundles["A"], root).replaced == version, "whoever is trusted"
    assert (root / "current/signatures.json").read_bytes() == (bundles["A"] / "signatures.json").read_bytes()


def test_a_damaged_archive_is_refused_before_anything_is_made(archives, root):
    data = archives["A"].read_bytes()
    archives["A"].write_bytes(data[:-1] + b"?")
    with pytest.raises(IntegrityError, match="as edgekit archives a bundle"):
        put(archives["A"], root)
    assert not root.exists()


def test_an_archive_that_is_another_a_moment_later(archives, root, monkeypatch):
    put(archives["A"], root)
    real = copying.unpack

    def swapped(path, out, trust):
        return real(archives["C"], out, trust)

    monkeypatch.setattr(copying, "unpack", swapped)
    with pytest.raises(IntegrityError, match=r"expected .*B\.ekb as it was a moment ago, found another"):
        put(archives["B"], root)
    assert (state(root), len(names(root))) == ({"current": "A"}, 1)


def test_an_archive_that_does_not_fit_on_the_disk(tmp_path, root):
    archive(tiny(tmp_path / "large", "B", 3 << 20), tmp_path / "large.ekb")
    put(tiny(tmp_path / "small", "A"), root)
    with at_most((1 << 20) + 4321), pytest.raises(OutputError, match="found: File too large"):
        put(tmp_path / "large.ekb", root)
    assert (state(root), len(names(root))) == ({"current": "A"}, 1)
