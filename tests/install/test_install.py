"""From a folder to `current` and back, and what stays when something goes wrong on the way."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sys
from pathlib import Path

import pytest

from edgekit import files
from edgekit.bundle import archive, unpack
from edgekit.configs import InstallConfig
from edgekit.errors import EdgekitError, IntegrityError, OutputError, SessionError, TargetError
from edgekit.install import install, rollback
from edgekit.install.pin import PINNED
from tests.install.bundles import HEALTH, ill, mark_of, names, patched, state, tiny, version, well


def put(bundle: Path, root: Path, check=well, **config):
    return install(bundle, root, InstallConfig(**config), check=check)


def test_three_installs_keep_the_last_two(bundles, root):
    first = put(bundles["A"], root)
    assert state(root) == {"current": "A"}
    assert (first.path, first.replaced, first.removed, first.verdict) == (root / "current", "", (), "PASS A")
    assert (first.health, first.engines, first.warnings, first.signed) == (HEALTH, (), (), "not signed")
    second = put(bundles["B"], root)
    assert state(root) == {"current": "B", "previous": "A"}
    assert (second.replaced, second.removed) == (first.version, ())
    third = put(bundles["C"], root)
    assert state(root) == {"current": "C", "previous": "B"}
    assert (third.replaced, third.removed) == (second.version, (first.version,))
    assert names(root) == sorted([second.version, third.version])
    assert sorted(path.name for path in root.iterdir()) == [".lock", "current", "previous", "versions"]
    assert str((root / "current").readlink()) == f"versions/{third.version}", "so that ROOT can be moved"
    assert third.to_json()["health"]["compared"] == "nothing"


def test_the_copy_is_the_bundle_byte_for_byte(bundles, root):
    put(bundles["A"], root)
    for path in bundles["A"].rglob("*"):
        if path.is_file():
            assert (root / "current" / path.relative_to(bundles["A"])).read_bytes() == path.read_bytes()


def test_what_is_current_already_is_not_copied_but_checked(bundles, root):
    first = put(bundles["A"], root)
    inode = (root / "current/model.onnx").stat().st_ino
    for source in (bundles["A"], root / "current"):
        again = put(source, root)
        assert (again.version, again.replaced) == (first.version, first.version)
        assert (root / "current/model.onnx").stat().st_ino == inode
    assert state(root) == {"current": "A"}
    with pytest.raises(SessionError):
        put(bundles["A"], root, ill)
    assert state(root) == {"current": "A"}


def test_a_damaged_bundle_is_refused_also_where_the_right_one_is_current(bundles, root):
    put(bundles["A"], root)
    data = bytearray((bundles["A"] / "model.onnx").read_bytes())
    data[100] ^= 1
    (bundles["A"] / "model.onnx").write_bytes(data)
    with pytest.raises(IntegrityError, match="SHA-256"):
        put(bundles["A"], root)
    assert state(root) == {"current": "A"}


def test_the_one_before_comes_back_without_a_copy(bundles, root):
    put(bundles["A"], root)
    inode = (root / "current/model.onnx").stat().st_ino
    put(bundles["B"], root)
    put(bundles["A"], root)
    assert state(root) == {"current": "A", "previous": "B"}
    assert (root / "current/model.onnx").stat().st_ino == inode


def test_a_check_that_fails_leaves_everything_as_it_was(bundles, root):
    with pytest.raises(SessionError, match="another answer"):
        put(bundles["A"], root, ill)
    assert (state(root), names(root)) == ({}, [])
    put(bundles["A"], root)
    put(bundles["B"], root)
    before = names(root)
    with pytest.raises(SessionError):
        put(bundles["C"], root, ill)
    assert (state(root), names(root)) == ({"current": "B", "previous": "A"}, before)
    assert put(bundles["C"], root).removed


def test_the_check_sees_the_copy_under_its_last_name_before_any_link_does(bundles, root):
    put(bundles["A"], root)
    seen = []

    def check(folder, config):
        seen.append((folder.parent, mark_of(folder), state(root), config.backend))
        return HEALTH

    put(bundles["B"], root, check, backend="ort")
    assert seen == [(root / "versions", "B", {"current": "A"}, "ort")]


def test_a_copy_that_is_damaged_under_the_installers_hands_is_never_left_current(bundles, root):
    """What `current` leads to is verified once more behind the switch, and the links go back."""

    def check(folder, config):
        (folder / "labels.txt").write_text("X labels")
        return HEALTH

    with pytest.raises(IntegrityError, match=r"labels\.txt"):
        put(bundles["A"], root, check)
    assert (state(root), names(root)) == ({}, [])
    put(bundles["A"], root)
    put(bundles["B"], root)
    with pytest.raises(IntegrityError):
        put(bundles["C"], root, check)
    assert (state(root), len(names(root))) == ({"current": "B", "previous": "A"}, 2)


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_current_is_copied_anew_and_is_nothing_to_come_back_to(bundles, root, damage):
    put(bundles["A"], root)
    first = put(bundles["B"], root).version
    if damage == "gone":
        shutil.rmtree(root / "versions" / first)
    else:
        (root / "current/model.onnx").write_text("rotten")
    second = put(bundles["B"], root)
    assert state(root) == {"current": "B", "previous": "A"}
    assert second.version == (first if damage == "gone" else f"{first}-2")
    assert len(names(root)) == 2


def test_a_current_that_is_gone_does_not_become_previous(bundles, root):
    put(bundles["A"], root)
    shutil.rmtree(root / "versions" / put(bundles["B"], root).version)
    put(bundles["C"], root)
    assert state(root) == {"current": "C", "previous": "A"}


def test_rollback_swaps_the_two_and_back(bundles, root):
    put(bundles["A"], root)
    later = put(bundles["B"], root)
    report = rollback(root, check=well)
    assert state(root) == {"current": "A", "previous": "B"}
    assert (report.replaced, report.verdict) == (later.version, "PASS A")
    rollback(root, check=well)
    assert state(root) == {"current": "B", "previous": "A"}


def test_rollback_refuses_what_it_cannot_vouch_for(bundles, root, tmp_path):
    with pytest.raises(EdgekitError, match="expected a folder of installed bundles at"):
        rollback(tmp_path / "nowhere", check=well)
    assert not (tmp_path / "nowhere").exists()
    put(bundles["A"], root)
    with pytest.raises(EdgekitError, match=r"expected another version at .*previous to come back to, found none"):
        rollback(root, check=well)
    put(bundles["B"], root)
    with pytest.raises(SessionError):
        rollback(root, check=ill)
    assert state(root) == {"current": "B", "previous": "A"}
    (root / "previous/model.onnx").write_bytes(b"x" * 3000)
    with pytest.raises(IntegrityError):
        rollback(root, check=lambda folder, config: HEALTH)
    assert mark_of(root / "current") == "B"
    assert version(root, "previous") != version(root)
    shutil.rmtree((root / "previous").resolve())
    with pytest.raises(EdgekitError):
        rollback(root, check=well)


def test_nothing_is_made_for_a_bundle_that_is_refused(bundles, root, monkeypatch):
    (bundles["A"] / "more.txt").write_text("more")
    with pytest.raises(IntegrityError, match=r"found more\.txt too"):
        put(bundles["A"], root)
    with pytest.raises(TargetError, match="expected an engine for trt in the bundle, found none"):
        put(bundles["B"], root, backend="trt")
    with pytest.raises(TargetError, match="expected an engine that runs here, found none: the bundle has no engine"):
        put(bundles["B"], root, fallback=False)
    with pytest.raises(EdgekitError, match=r"expected a bundle, a folder or an \.ekb, at"):
        put(root / "no", root)
    with pytest.raises(EdgekitError, match="expected arrays at"):
        put(bundles["B"], root, golden=root / "none.npz")
    assert not root.exists()


def test_who_signed_it(bundles, root, tmp_path):
    pytest.importorskip("cryptography", reason="signatures need the extra sign")
    from edgekit.bundle import make_keys, sign

    key = make_keys(tmp_path / "key")
    trusted = {"trusted_keys": (str(tmp_path / "key.pub"),)}
    with pytest.raises(IntegrityError, match="expected a signed bundle"):
        put(bundles["A"], root, **trusted)
    with pytest.raises(IntegrityError, match="expected a signed bundle"):
        put(bundles["A"], root, require_signature=True)
    assert not root.exists()
    unsigned = put(bundles["A"], root)
    sign(bundles["A"], tmp_path / "key")
    with pytest.raises(IntegrityError, match="expected the signature of"):
        (tmp_path / "other").mkdir()
        shutil.copy(bundles["A"] / "signatures.json", bundles["B"])
        put(bundles["B"], root)
    signed = put(bundles["A"], root, **trusted)
    assert (signed.signed, signed.version != unsigned.version) == (f"signed by {key}, trusted", True)
    assert (root / "current/signatures.json").read_bytes() == (bundles["A"] / "signatures.json").read_bytes()
    with pytest.raises(IntegrityError, match="expected a signed bundle"):
        rollback(root, InstallConfig(**trusted), check=well)


@pytest.mark.parametrize("config", [{}, {"require_signature": True}])
@pytest.mark.parametrize("packed", [False, True])
def test_without_keys_a_stranger_does_not_follow_what_was_signed(bundles, signed, root, memory, config, packed):
    """One key in common is enough; with trusted keys these decide alone, and the next is held against its signer."""
    public, ids = signed
    if packed:
        for mark in "ABC":
            archive(bundles[mark], memory / f"{mark}.ekb")
    at = {mark: memory / f"{mark}.ekb" if packed else bundles[mark] for mark in "ABC"}
    first = put(at["A"], root, **config)  # the first is believed
    assert first.signed.count(", valid, no trusted keys given") == 2
    before, opened = names(root), []
    with pytest.raises(IntegrityError) as error:
        put(at["C"], root, lambda folder, config: opened.append(folder) or HEALTH, **config)
    wanted = " or ".join(sorted([ids["one"], ids["two"]]))
    assert str(error.value) == (
        f"expected a signature by {wanted}, as earlier installs into {root} had, found {ids['three']}; "
        "next: --trusted-keys PUB"
    )
    assert (state(root), names(root), opened) == ({"current": "A"}, before, [])
    assert put(at["A"], root, **config).signed.count(", trusted") == 2, "as the first install says"
    put(at["B"], root, **config)
    assert state(root) == {"current": "B", "previous": "A"}
    put(at["C"], root, trusted_keys=public["three"])
    with pytest.raises(IntegrityError, match=f"expected a signature by {ids['three']}, "):
        put(at["B"], root, **config)
    assert state(root) == {"current": "C", "previous": "B"}


def test_without_keys_an_unsigned_one_does_not_follow_a_signed_one(bundles, signed, root):
    (bundles["B"] / "signatures.json").unlink()
    put(bundles["B"], root)
    put(bundles["A"], root)  # who knows nobody believes the first
    with pytest.raises(IntegrityError, match=r"as earlier installs into .* had, found none; next: a bundle that"):
        put(bundles["B"], root)
    assert state(root) == {"current": "A", "previous": "B"}


def test_rollback_comes_back_to_what_others_signed(bundles, signed, root):
    put(bundles["B"], root)
    put(bundles["C"], root, trusted_keys=signed[0]["three"])
    rollback(root, check=well)
    assert state(root) == {"current": "B", "previous": "C"}


@pytest.mark.parametrize("damage", ["no signatures", "other signatures", "no JSON", "manifest", "unreadable"])
def test_where_nobody_knows_who_signed_what_is_current_keys_are_asked_for(bundles, signed, root, damage):
    """Of a root older than the file of what is pinned. A rollback goes without, and an install with them."""
    put(bundles["A"], root)
    put(bundles["B"], root)
    (root / PINNED).unlink()
    signatures = root / "current/signatures.json"
    if damage == "manifest":
        with (root / "current/manifest.json").open("ab") as file:
            file.write(b" ")
    elif damage == "no JSON":
        signatures.write_bytes(b"{")
    else:
        signatures.unlink()
        if damage == "other signatures":
            shutil.copy(bundles["C"] / "signatures.json", signatures)
        elif damage == "unreadable":
            signatures.mkdir()
    before = version(root), names(root)
    with pytest.raises(IntegrityError) as error:
        put(bundles["C"], root)
    assert f"expected to learn who signed what is current at {root}, found it damaged: " in str(error.value)
    assert str(error.value).endswith(f"; next: --trusted-keys PUB, edgekit bundle rollback {root}, or another ROOT")
    assert (version(root), names(root)) == before
    rollback(root, check=well)
    assert mark_of(root / "current") == "A"
    with pytest.raises(IntegrityError, match="as earlier installs into"):
        put(bundles["C"], root)
    put(bundles["C"], root, trusted_keys=signed[0]["three"])
    assert mark_of(root / "current") == "C"


def test_where_the_system_does_not_let_read_who_signed_it_keys_are_asked_for(bundles, root, monkeypatch):
    put(bundles["A"], root)

    def refuses(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("edgekit.install.pin.manifest_bytes", refuses)
    with pytest.raises(IntegrityError, match="found it damaged: Permission denied; next: --trusted-keys PUB"):
        put(bundles["B"], root)
    assert state(root) == {"current": "A"}


def test_keys_decide_alone_also_where_what_is_current_is_damaged(bundles, signed, root):
    put(bundles["B"], root)
    (root / "current/signatures.json").write_bytes(b"{")
    put(bundles["C"], root, trusted_keys=signed[0]["three"])
    assert mark_of(root / "current") == "C"


def test_a_signed_current_that_is_gone_still_asks_for_its_signers(bundles, signed, root):
    """But in a root older than the file of what is pinned, where nothing tells of them."""
    shutil.rmtree(root / "versions" / put(bundles["A"], root).version)
    with pytest.raises(IntegrityError, match="as earlier installs into"):
        put(bundles["C"], root)
    (root / PINNED).unlink()
    put(bundles["C"], root)
    assert state(root) == {"current": "C"}


def test_a_signature_that_nobody_checked_is_none_of_a_known_key(bundles, signed, root, monkeypatch):
    """Without the package cryptography whoever knows a public key could write it into their signatures."""
    put(bundles["B"], root)
    shutil.copy(bundles["B"] / "signatures.json", bundles["C"])
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(TargetError, match="expected the package cryptography for signatures"):
        put(bundles["C"], root)
    assert (state(root), len(names(root))) == ({"current": "B"}, 1)


def test_a_key_of_the_same_short_name_is_another_key(bundles, signed, root, monkeypatch):
    put(bundles["B"], root)
    monkeypatch.setattr("edgekit.bundle.signature.key_id", lambda public: "0" * 16)
    monkeypatch.setattr("edgekit.install.pin.key_id", lambda public: "0" * 16)
    monkeypatch.setattr("edgekit.install.Root.versions_of", lambda place, digest: tuple(names(root)))
    with pytest.raises(IntegrityError, match="expected a signature by a trusted key"):
        put(bundles["C"], root)
    assert state(root) == {"current": "B"}


def test_what_killed_installers_left_goes_and_what_others_put_there_stays(bundles, root):
    first, versions = put(bundles["A"], root).version, root / "versions"
    for name in (".0123456789abcdef.part", "0123456789abcdef", "mine", ".mine.part", "0123456789abcdef-x"):
        shutil.copytree(versions / first, versions / name)
    (root / ".current.part").symlink_to("nowhere")
    with pytest.raises(SessionError):
        put(bundles["B"], root, ill)
    assert names(root) == sorted([first, "mine", ".mine.part", "0123456789abcdef-x"])
    put(bundles["B"], root)
    assert state(root) == {"current": "B", "previous": "A"}


def test_an_old_version_that_cannot_be_removed_is_a_warning(bundles, root, monkeypatch):
    for mark in "AB":
        put(bundles[mark], root)

    def refuses(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refuses)
    report = put(bundles["C"], root)
    assert state(root) == {"current": "C", "previous": "B"}
    assert "an older version stays: expected to be able to write" in report.warnings[0]
    monkeypatch.undo()
    put(bundles["C"], root)
    assert len(names(root)) == 2


def path_of(file: int) -> str:
    """Of an open file."""
    return str(Path(f"/proc/self/fd/{file}").readlink())


SYSTEM = ("open", "mkdir", "rename", "replace", "link", "symlink", "unlink", "rmdir", "fsync")


class Crash(BaseException):
    """The power goes: nothing that comes after it is done either, no `finally` and no `except`."""


@contextlib.contextmanager
def calls(monkeypatch, before):
    """Call `before(name, arguments)` at every call of the system that changes something, or could."""
    with monkeypatch.context() as patch:
        # The last is the system's renameat2, for which Python has no name.
        for where, name in (*((os, name) for name in SYSTEM), (files, "_renamed")):

            def called(*arguments, _name=name, _real=getattr(where, name), **named):
                before(_name, arguments)
                return _real(*arguments, **named)

            patch.setattr(where, name, called)
        yield


def crashes(monkeypatch, work, place: int) -> bool:
    """Do the work until its call number `place`; False where it makes no so many."""
    seen = []

    def before(name, arguments):
        seen.append(name)
        if len(seen) > place:
            raise Crash

    with calls(monkeypatch, before), contextlib.suppress(Crash):
        work()
    return len(seen) > place


@patched
@pytest.mark.parametrize("work", ["install", "unpack", "rollback", "again"])
def test_a_crash_at_any_call_of_the_system_leaves_a_whole_current(bundles, memory, monkeypatch, work):
    """At each in turn; and to do it once more succeeds."""
    new, does = {
        "install": ("C", lambda root: put(bundles["C"], root)),
        "unpack": ("C", lambda root: put(memory / "C.ekb", root)),
        "again": ("A", lambda root: put(bundles["A"], root)),
        "rollback": ("A", lambda root: rollback(root, check=well)),
    }[work]
    archive(bundles["C"], memory / "C.ekb")
    currents = set()
    for place in itertools.count():
        root = memory / str(place)
        for mark in "AB":
            put(bundles[mark], root)
        if not crashes(monkeypatch, lambda root=root: does(root), place):
            break
        found = state(root)
        currents.add(found["current"])
        assert found["current"] in ("B", new), place
        assert found["previous"] in ("A", "B"), place
        if found["current"] == "B" or work != "rollback":  # a rollback that is done need not be done again
            does(root)
        assert state(root)["current"] == new, place
        put(bundles["C"], root)
        assert state(root)["current"] == "C", place
        assert set(names(root)) == {version(root), version(root, "previous")}
    assert currents == {"B", new}
    assert place >= {"install": 30, "unpack": 30, "again": 10, "rollback": 8}[work], "that many there are at least"


@patched
def test_all_is_on_the_disk_before_a_name_tells_of_it(bundles, root, monkeypatch):
    """Every file and folder of a version is synced before it is named, its name before the link, and the link, too."""
    put(bundles["A"], root)
    events = []

    def before(name, arguments):
        if name == "fsync":
            events.append(("sync", path_of(arguments[0])))
        elif name in ("rename", "replace"):
            events.append((name, str(arguments[1])))

    with calls(monkeypatch, before):
        name = put(bundles["B"], root).version
    part, versions = f"{root}/versions/.{name}.part/whole", f"{root}/versions"
    named = events.index(("rename", f"{versions}/{name}"))
    files = ["", "/a", "/a/b", "/a/b/deep.txt", "/labels.txt", "/model.onnx", "/manifest.json"]
    assert {("sync", part + file) for file in files} <= set(events[:named])
    rest = events[named + 1 :]
    assert rest[:5] == [
        ("sync", versions),
        ("replace", f"{root}/previous"),
        ("sync", str(root)),
        ("replace", f"{root}/current"),
        ("sync", str(root)),
    ]


def test_new_folders_are_on_the_disk_too(bundles, root, monkeypatch):
    synced = []
    with calls(
        monkeypatch,
        lambda name, arguments: name == "fsync" and synced.append(path_of(arguments[0])),
    ):
        put(bundles["A"], root)
    assert {str(root), str(root.parent), str(root.parent.parent)} <= set(synced)


def test_an_interrupt_while_copying_leaves_nothing(bundles, root):
    def progress(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(bundles["A"], root, progress=progress, check=well)
    assert (state(root), names(root)) == ({}, [])


def test_progress_ends_at_all_of_it(tmp_path, root):
    told = []
    install(tiny(tmp_path / "big", "A", 5 << 20), root, progress=lambda *now: told.append(now), check=well)
    assert told[0] == ("copying, MiB", 0, 5)
    assert told[-2:] == [("copying, MiB", 5, 5), ("opening and checking", 0, 0)]
    assert len(told) >= 6


@patched
def test_a_link_that_cannot_be_set_puts_the_other_one_back(bundles, root, monkeypatch):
    put(bundles["A"], root)
    put(bundles["B"], root)
    real = os.replace

    def refuses(source, target):
        if str(target).endswith("/current"):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", refuses)
    with pytest.raises(OutputError, match="No space left on device; next: free some space, or another ROOT"):
        put(bundles["C"], root)
    assert (state(root), len(names(root))) == ({"current": "B", "previous": "A"}, 2)


def test_what_is_installed_is_not_written_over_by_hand(bundles, root, tmp_path):
    """Its name tells what it is: another bundle in its place would be one that nobody installed."""
    put(bundles["A"], root)
    archive(bundles["B"], tmp_path / "b.ekb")
    with pytest.raises(OutputError, match="found a bundle that was installed"):
        unpack(tmp_path / "b.ekb", root / "current")
    assert mark_of(root / "current") == "A"


@pytest.mark.parametrize("config", [{"backend": "trt"}, {"fallback": False}])
def test_that_it_was_changed_is_worse_than_that_it_does_not_fit(bundles, root, config):
    with pytest.raises(TargetError):
        put(bundles["A"], root, **config)
    model = bundles["A"] / "model.onnx"
    model.write_bytes(bytes([model.read_bytes()[0] ^ 1]) + model.read_bytes()[1:])
    with pytest.raises(IntegrityError, match="it was changed"):
        put(bundles["A"], root, **config)
