"""Who may install where, and one at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgekit.bundle import Trust
from edgekit.configs import InstallConfig
from edgekit.errors import EdgekitError, OutputError
from edgekit.install import install, rollback
from edgekit.install.root import CURRENT, Root
from edgekit.install.source import read_source
from tests.install.bundles import HEALTH, names, patched, state, tiny, well


def put(bundle: Path, root: Path, check=well, **config):
    return install(bundle, root, InstallConfig(**config), check=check)


def test_a_second_installer_is_refused_or_waits(bundles, root, monkeypatch):
    put(bundles["A"], root)
    inside, gate = threading.Event(), threading.Event()

    def check(folder, config):
        inside.set()
        assert gate.wait(30)
        return HEALTH

    first = threading.Thread(target=put, args=(bundles["B"], root, check))
    first.start()
    assert inside.wait(30)
    for work in (lambda: put(bundles["C"], root), lambda: rollback(root, check=well), lambda: put(bundles["B"], root)):
        with pytest.raises(OutputError, match=r"expected no other install into .*, found one under way; next: --wait"):
            work()
    assert state(root) == {"current": "A"}
    # The first ends when the second has begun to wait.
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: gate.set() or time.sleep(seconds))
    monkeypatch.setattr("edgekit.install.root.time", clock)
    put(bundles["C"], root, wait=30.0)
    first.join(30)
    assert state(root) == {"current": "C", "previous": "B"}


def test_one_that_is_over_or_killed_holds_no_lock(bundles, root):
    put(bundles["A"], root)
    program = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX); print(1, flush=True)"
    command = [sys.executable, "-c", program + "; sys.stdin.read()", str(root / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"1\n"
        with pytest.raises(OutputError, match="found one under way"):
            put(bundles["B"], root)
        other.kill()
    put(bundles["B"], root)
    assert state(root)["current"] == "B"


def same(path: Path) -> tuple[int, ...]:
    """What tells a file from one that was made or changed anew; not when it was read."""
    found = path.lstat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@pytest.mark.parametrize("what", ["file", "folder", "foreign", "outside", "lock"])
def test_what_no_install_has_put_there_stays_as_it_is(bundles, root, what):
    """Nobody's own `current` is replaced."""
    (root / "versions").mkdir(parents=True)
    (root / "versions/mine").mkdir()
    path = root / (".lock" if what == "lock" else CURRENT)
    if what == "file":
        path.write_text("mine")
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to({"foreign": "versions/mine", "outside": "/opt/0123456789abcdef", "lock": "versions/x"}[what])
    before = same(path)
    with pytest.raises(OutputError) as error:
        put(bundles["A"], root)
    assert same(path) == before
    assert names(root) == ["mine"]
    assert (
        "Too many levels" in str(error.value) if what == "lock" else "a link of an earlier install" in str(error.value)
    )


def test_a_root_that_cannot_be_one(bundles, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="expected a folder to install into, found the file"):
        put(bundles["A"], tmp_path / "file")
    with pytest.raises(OutputError, match=r"expected to be able to write .*file/root, found: Not a directory"):
        put(bundles["A"], tmp_path / "file/root")
    for inside in (bundles["A"], bundles["A"] / "device"):
        with pytest.raises(OutputError, match="expected ROOT outside of the bundle"):
            put(bundles["A"], inside)
    (tmp_path / "link").symlink_to(bundles["A"])
    with pytest.raises(OutputError, match="expected ROOT outside of the bundle"):
        put(bundles["A"], tmp_path / "link/device")
    assert (tmp_path / "file").read_text() == "mine"
    assert not (bundles["A"] / "device").exists()


@patched
@pytest.mark.parametrize("call", ["open", "mkdir", "rename", "replace", "symlink", "fsync"])
@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")])
def test_a_root_that_refuses_is_one_line_and_nothing_of_it_stays(bundles, root, monkeypatch, call, error):
    put(bundles["A"], root)
    before = names(root)

    def refuses(*_, **__):
        raise error

    monkeypatch.setattr(os, call, refuses)
    with pytest.raises(OutputError) as told:
        put(bundles["B"], root)
    assert f"found: {error.strerror}; next: another ROOT" in str(told.value)
    monkeypatch.undo()
    assert state(root) == {"current": "A"}
    put(bundles["B"], root)
    assert (state(root), len(names(root))) == ({"current": "B", "previous": "A"}, len(before) + 1)


def test_a_bundle_below_root_is_installed_and_stays(root):
    put(tiny(root / "versions/inbox", "A"), root)
    assert state(root) == {"current": "A"}
    assert "inbox" in names(root)


def test_a_root_through_a_link_and_one_that_is_moved(bundles, root, memory):
    (memory / "real").mkdir()
    root.parent.mkdir()
    root.symlink_to(memory / "real")
    report = put(bundles["A"], root)
    assert report.path == memory / "real/current"
    (memory / "real").rename(memory / "moved")
    assert state(memory / "moved") == {"current": "A"}


def test_only_digests_are_names(bundles, root):
    place = Root(root)
    place.make()
    digest = "0123456789abcdef"
    assert place.free_name(digest) == digest
    for name in (digest, f"{digest}-2", "0123456789abcdef0", f"{digest}-", digest.upper()):
        (root / "versions" / name).mkdir()
    assert place.versions_of(digest) == (digest, f"{digest}-2")
    assert place.free_name(digest) == f"{digest}-3"
    assert place.clear({digest}) == (f"{digest}-2",)
    assert names(root) == sorted([digest, "0123456789abcdef0", f"{digest}-", digest.upper()])
    with pytest.raises(EdgekitError, match="expected a folder of installed bundles"):
        Root(root / "no").check_made()


def other_things(versions: Path, digest: str) -> None:
    """Files and links of names that an install gives, and of where it copies to."""
    versions.mkdir(parents=True)
    (versions / "inbox").mkdir()
    (versions / "0123456789abcdef").write_text("mine")
    (versions / "fedcba9876543210").symlink_to("inbox")
    (versions / "aaaaaaaaaaaaaaaa").symlink_to("nowhere")
    (versions / ".aaaaaaaaaaaaaaaa.part").write_text("mine")
    os.mkfifo(versions / "bbbbbbbbbbbbbbbb")
    for count in range(2, 120):  # more than anyone tries
        (versions / f"{digest}-{count}").write_text("mine")


@pytest.mark.parametrize("taken", ["file", "link", "link to nothing", "part"])
def test_files_and_links_that_are_called_as_versions_stop_nothing_and_stay(bundles, root, taken):
    digest, versions = read_source(bundles["B"], Trust()).digest, root / "versions"
    other_things(versions, digest)
    if taken == "part":
        (versions / f".{digest}.part").write_text("mine")
    elif taken == "file":
        (versions / digest).write_text("mine")
    else:
        (versions / digest).symlink_to(bundles["B"] if taken == "link" else "nowhere")
    before = {path.name: same(path) for path in versions.iterdir()}
    put(bundles["A"], root)
    report = put(bundles["B"], root)
    assert (state(root), report.version) == ({"current": "B", "previous": "A"}, f"{digest}-120")
    assert put(bundles["B"], root).version == report.version, "which is found again"
    put(bundles["C"], root)
    assert {path.name: same(path) for path in versions.iterdir() if path.name in before} == before
    assert len(names(root)) == len(before) + 2


@patched
def test_a_folder_that_cannot_be_removed_is_told_of_and_stops_nothing(bundles, root, monkeypatch):
    stuck, real = root / "versions/0123456789abcdef", shutil.rmtree
    for folder in (stuck, root / "versions/fedcba9876543210", root / "versions/.0123456789abcdef.part"):
        folder.mkdir(parents=True)

    def refuses(path):
        if path == stuck:
            raise OSError("Directory not empty")  # of this kind some have no number
        real(path)

    monkeypatch.setattr(shutil, "rmtree", refuses)
    report = put(bundles["A"], root)
    assert report.warnings == (
        f"an older version stays: expected to be able to write {stuck}, found: Directory not empty",
    )
    assert (state(root), names(root)) == ({"current": "A"}, sorted([report.version, stuck.name]))


def test_what_is_installed_is_not_signed(bundles, signed, root, tmp_path):
    """Its name is made of the signers: with one more it would be none that an install has put there."""
    from edgekit.bundle import sign

    name = put(bundles["A"], root).version
    before = (root / "current/signatures.json").read_bytes()
    (tmp_path / "link").symlink_to(root / "current")
    for way in (root / "current", root / "versions" / name, tmp_path / "link"):
        with pytest.raises(EdgekitError) as error:
            sign(way, tmp_path / "three")
        assert str(error.value) == (
            f"expected a bundle that is not installed yet, found {root}/versions/{name}, which is by the signatures "
            f"that it has; next: sign the bundle that was installed, and edgekit bundle install BUNDLE --to {root}"
        )
    assert (root / "current/signatures.json").read_bytes() == before
    shutil.copytree(root / "current", tmp_path / "versions" / name)
    sign(tmp_path / "versions" / name, tmp_path / "three")  # which is no install, whatever it is called
    put(bundles["A"], root)
