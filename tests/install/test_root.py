"""Who may install where, and one at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgekit.configs import InstallConfig
from edgekit.errors import EdgekitError, OutputError
from edgekit.install import install, rollback
from edgekit.install.root import CURRENT, Root
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
