"""Whose bundles a root takes: the first signers, fewer with every install, others only where a person names them."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="signatures need the extra sign")

from edgekit.bundle import archive, sign
from edgekit.bundle.keys import read_private, read_public
from edgekit.bundle.signature import DOMAIN
from edgekit.configs import InstallConfig
from edgekit.errors import EdgekitError, IntegrityError, OutputError
from edgekit.install import copying, install, rollback
from tests.bundle.signing import write_signatures
from tests.install.bundles import mark_of, names, patched, state, tiny, version, well
from tests.install.test_install import calls, crashes, path_of

PINNED = "trusted-keys.json"


def put(bundle: Path, root: Path, **config):
    return install(bundle, root, InstallConfig(**config), check=well)


def pinned(root: Path) -> set[str]:
    """What the file has, by json alone; nothing without it."""
    path = root / PINNED
    return set(json.loads(path.read_bytes())["keys"]) if path.exists() else set()


@pytest.fixture
def raw(signed) -> dict[str, str]:
    """The raw public keys, by their names, in hexadecimal digits."""
    return {name: read_public(Path(public)).hex() for name, (public,) in signed[0].items()}


@pytest.fixture
def makes(tmp_path, signed):
    """Make a bundle of a mark, signed by these."""

    def make(mark: str, *signers: str) -> Path:
        folder = tiny(tmp_path / f"made-{mark}-{'-'.join(signers)}", mark)
        for name in signers:
            sign(folder, tmp_path / name)
        return folder

    return make


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_who_adds_a_signature_to_a_makers_bundle_is_not_believed_by_it(makes, signed, raw, root, memory, named, packed):
    """`one` makes; `three` signs what `one` made, and then a bundle of their own. The last install forgets the keys."""
    config = {"trusted_keys": signed[0]["one"]} if named else {}
    bundles = [makes("A", "one"), makes("B", "one", "three"), makes("E", "three")]
    if packed:
        for number, bundle in enumerate(bundles):
            archive(bundle, memory / f"{number}.ekb")
        bundles = [memory / f"{number}.ekb" for number in range(3)]
    for bundle in bundles[:2]:
        put(bundle, root, **config)
        assert pinned(root) == {raw["one"]}
    with pytest.raises(IntegrityError, match=f"as earlier installs into .* had, found {signed[1]['three']}; next"):
        put(bundles[2], root)
    assert (state(root), pinned(root)) == ({"current": "B", "previous": "A"}, {raw["one"]})


def test_the_keys_become_fewer_and_a_person_names_others(makes, signed, raw, root):
    put(makes("U"), root)
    assert not (root / PINNED).exists()
    put(makes("A", "one", "two"), root)
    assert pinned(root) == {raw["one"], raw["two"]}
    put(makes("B", "two", "three"), root)
    assert pinned(root) == {raw["two"]}
    put(makes("C", "one", "three"), root, trusted_keys=signed[0]["three"])
    assert pinned(root) == {raw["three"]}
    put(makes("C", "one", "three"), root, trusted_keys=signed[0]["one"])  # it is current already
    assert pinned(root) == {raw["one"]}
    assert (root / PINNED).read_text() == f'{{\n "keys": [\n  "{raw["one"]}"\n ],\n "schema": 1\n}}\n'
    assert sorted(path.name for path in root.iterdir()) == [".lock", "current", "previous", PINNED, "versions"]


def test_a_rollback_does_not_believe_more_than_before(makes, signed, raw, root):
    put(makes("A", "one", "two"), root)
    put(makes("B", "two"), root)
    rollback(root, check=well)
    assert (state(root), pinned(root)) == ({"current": "A", "previous": "B"}, {raw["two"]})
    with pytest.raises(IntegrityError, match="as earlier installs into"):
        put(makes("C", "one"), root)
    rollback(root, InstallConfig(trusted_keys=signed[0]["two"]), check=well)
    rollback(root, InstallConfig(trusted_keys=signed[0]["one"]), check=well)
    assert pinned(root) == {raw["one"]}, "which a person has named"
    put(makes("C", "one"), root)


def test_nor_does_one_to_an_unsigned_bundle(makes, raw, root):
    put(makes("U"), root)
    put(makes("A", "one"), root)
    rollback(root, check=well)
    assert (mark_of(root / "current"), pinned(root)) == ("U", {raw["one"]})
    for bundle in (makes("V"), makes("B", "two")):
        with pytest.raises(IntegrityError, match="as earlier installs into"):
            put(bundle, root)
    put(makes("C", "one"), root)


@pytest.mark.parametrize("next_one", ["install", "rollback"])
def test_a_root_older_than_the_file_is_held_to_who_signed_what_is_current(makes, raw, root, next_one):
    put(makes("A", "one", "two"), root)
    put(makes("B", "two", "three"), root)
    (root / PINNED).unlink()
    with pytest.raises(IntegrityError, match="as earlier installs into"):
        put(makes("C", "one"), root)
    assert not (root / PINNED).exists()
    if next_one == "install":
        put(makes("D", "one", "two"), root)
        assert pinned(root) == {raw["two"]}
    else:
        rollback(root, check=well)
        assert (mark_of(root / "current"), pinned(root)) == ("A", {raw["two"], raw["three"]})


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "no JSON": lambda path: path.write_bytes(b"["),
    "nobody": lambda path: path.write_text('{\n "keys": [],\n "schema": 1\n}\n'),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "another form": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "another schema": lambda path: path.write_text(path.read_text().replace('"schema": 1', '"schema": 2')),
    "no digits": lambda path: path.write_text('{\n "keys": [\n  7\n ],\n "schema": 1\n}\n'),
    "a key of nobody": lambda path: path.write_text(f'{{\n "keys": [\n  "{"00" * 32}"\n ],\n "schema": 1\n}}\n'),
    "too large": lambda path: path.write_bytes(b" " * (1 << 15)),
    "link": lambda path: path.rename(path.with_name("elsewhere")) and path.symlink_to("elsewhere"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_the_file_is_damaged_keys_are_asked_for(makes, signed, raw, root, damage):
    """A rollback goes without them, and changes nothing of it."""
    put(makes("A", "one"), root)
    put(makes("B", "one"), root)
    path = root / PINNED
    DAMAGES[damage](path)
    before = path.read_bytes()
    with pytest.raises(IntegrityError) as error:
        put(makes("C", "one"), root)
    assert "found it damaged: " in str(error.value)
    assert str(error.value).endswith("; next: --trusted-keys PUB, or another ROOT"), (
        "a rollback would not mend the file"
    )
    assert "\n" not in str(error.value)
    rollback(root, check=well)
    assert (state(root)["current"], path.read_bytes()) == ("A", before)
    put(makes("C", "one"), root, trusted_keys=signed[0]["one"])
    assert (pinned(root), path.is_symlink()) == ({raw["one"]}, False)


def test_a_file_that_the_system_does_not_let_read_is_one_line(makes, signed, raw, root, monkeypatch):
    put(makes("A", "one"), root)

    def refuses(path, most):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("edgekit.install.pin.read_bounded", refuses)
    with pytest.raises(IntegrityError, match="found it damaged: Permission denied; next: --trusted-keys PUB"):
        put(makes("B", "one"), root)
    put(makes("B", "two"), root, trusted_keys=signed[0]["two"])
    assert (state(root)["current"], pinned(root)) == ("B", {raw["two"]})


@patched
@pytest.mark.parametrize("fails", ["previous", "current"])
@pytest.mark.parametrize("first", [False, True])
def test_links_that_cannot_be_set_leave_the_keys_as_they_were(makes, signed, root, monkeypatch, fails, first):
    put(makes("A"), root)
    if not first:
        put(makes("B", "one", "two"), root)
    before, real = (state(root), pinned(root)), os.replace

    def refuses(source, target):
        if Path(target).name == fails:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", refuses)
    with pytest.raises(OutputError, match="No space left on device"):
        put(makes("C", "three"), root, trusted_keys=signed[0]["three"])
    assert (state(root), pinned(root)) == before
    monkeypatch.undo()
    put(makes("D", *([] if first else ["one"])), root)


@patched
def test_the_keys_are_on_the_disk_before_a_link_tells_of_what_they_signed(makes, root, monkeypatch):
    put(makes("A"), root)
    events, bundle = [], makes("B", "one")

    def before(name, arguments):
        if name == "fsync":
            events.append(("sync", path_of(arguments[0])))
        elif name == "replace":
            events.append((name, str(arguments[1])))

    with calls(monkeypatch, before):
        put(bundle, root)
    start = events.index(("sync", f"{root}/.{PINNED}.part"))
    assert events[start : start + 5] == [
        ("sync", f"{root}/.{PINNED}.part"),
        ("replace", f"{root}/{PINNED}"),
        ("sync", str(root)),
        ("replace", f"{root}/previous"),
        ("sync", str(root)),
    ]


# What was installed, whether the root is older than the file, what is done then, and whose keys are pinned after it.
WORKS = {
    "first": (["U"], False, lambda root, made, public: put(made["A"], root), "U", "A", {"one", "two"}),
    "fewer": (["A"], False, lambda root, made, public: put(made["B"], root), "A", "B", {"two"}),
    "older": (["A"], True, lambda root, made, public: put(made["B"], root), "A", "B", {"two"}),
    "named": (["B"], False, lambda root, made, public: put(made["C"], root, trusted_keys=public), "B", "C", {"three"}),
    "again": (["C"], False, lambda root, made, public: put(made["C"], root, trusted_keys=public), "C", "C", {"three"}),
    "back": (["A", "B"], False, lambda root, made, public: rollback(root, check=well), "B", "A", {"two"}),
    "back, older": (["A", "B"], True, lambda root, made, public: rollback(root, check=well), "B", "A", {"two"}),
}


@patched
@pytest.mark.parametrize("work", WORKS)
def test_a_crash_at_any_call_of_the_system_believes_nobody_more(makes, signed, raw, memory, monkeypatch, work):
    """The keys are those before or after it; after it where what is current is, too. To do it once more succeeds."""
    installed, older, does, old, new, keys = WORKS[work]
    made = {"U": makes("U"), "A": makes("A", "one", "two"), "B": makes("B", "two"), "C": makes("C", "two", "three")}
    unsigned, after, seen = makes("V"), {raw[name] for name in keys}, set()
    for place in itertools.count():
        root = memory / str(place)
        for mark in installed:
            put(made[mark], root)
        if older:
            (root / PINNED).unlink()
        before = pinned(root)
        if not crashes(monkeypatch, lambda root=root: does(root, made, signed[0]["three"]), place):
            break
        current, found = state(root)["current"], pinned(root)
        seen.add((current, found == after))
        assert current in (old, new), place
        assert found in (before, after), place
        assert found == after or current == old, place
        if found or current != "U":
            with pytest.raises(IntegrityError):
                put(unsigned, root)
        if current == old or not work.startswith("back"):
            does(root, made, signed[0]["three"])
        assert (state(root)["current"], pinned(root)) == (new, after), place
    assert (old, False) in seen or work in ("again", "back"), "what was before it"
    assert (new, True) in seen, "what was after it"
    assert place >= {"again": 5}.get(work, 8), "that many there are at least"


def older(root: Path, key: Path | None = None) -> str:
    """Turn what is current into what an earlier edgekit has installed: another schema, other keys in the manifest."""
    before = root / "current"
    table = json.loads((before / "manifest.json").read_bytes())
    for name in ("tools", "fps", "manifest_sha256"):
        del table[name]
    manifest = json.dumps({**table, "schema": 2}, indent=1, sort_keys=True).encode() + b"\n"
    (before / "manifest.json").write_bytes(manifest)
    (before / "signatures.json").unlink(missing_ok=True)
    ids = ""
    if key:
        private = read_private(key)
        public = private.public_key().public_bytes_raw()
        entry = {"public_key": public.hex(), "signature": private.sign(DOMAIN + manifest).hex()}
        write_signatures(before, entry)
        ids = hashlib.sha256(public).hexdigest()[:16]
    name = hashlib.sha256(manifest + ids.encode()).hexdigest()[:16]
    before.resolve().rename(root / "versions" / name)
    before.unlink()
    before.symlink_to(f"versions/{name}")
    (root / PINNED).unlink(missing_ok=True)
    return name


def test_what_an_earlier_edgekit_installed_unsigned_does_not_stop_an_upgrade(makes, root):
    put(makes("A"), root)
    name = older(root)
    report = put(makes("B"), root)
    assert (mark_of(root / "current"), version(root, "previous")) == ("B", name)
    assert report.warnings == (
        f"rollback does not come back to {root}/previous: it is a bundle of schema 2, which this edgekit does not "
        "read: its own is 3",
    )
    with pytest.raises(EdgekitError) as error:
        rollback(root, check=well)
    assert str(error.value) == (
        f"expected a version to come back to at {root}/previous, found a bundle of schema 2, which this edgekit does "
        f"not read: its own is 3; next: edgekit bundle install BUNDLE --to {root}, or the edgekit that installed it"
    )
    assert error.value.exit_code == 1
    assert mark_of(root / "current") == "B"
    assert put(makes("C", "one"), root).warnings == ()


def test_whoever_signed_what_an_earlier_edgekit_installed_is_known(makes, signed, raw, root, tmp_path):
    put(makes("A", "one"), root)
    older(root, tmp_path / "one")
    for bundle in (makes("B"), makes("B", "two")):
        with pytest.raises(IntegrityError, match=f"expected a signature by {signed[1]['one']}, as earlier"):
            put(bundle, root)
    put(makes("C", "one", "two"), root)
    assert pinned(root) == {raw["one"]}
    with pytest.raises(IntegrityError, match="expected a signature by a trusted key"):
        rollback(root, InstallConfig(trusted_keys=signed[0]["two"]), check=well)
    with pytest.raises(EdgekitError, match="found a bundle of schema 2"):
        rollback(root, check=well)


@pytest.mark.parametrize("damage", ["manifest", "signatures", "unsigned"])
def test_what_an_earlier_edgekit_installed_may_be_damaged_all_the_same(makes, signed, root, tmp_path, damage):
    put(makes("A", "one"), root)
    older(root, tmp_path / "one")
    if damage == "manifest":
        path = root / "current/manifest.json"
        path.write_bytes(path.read_bytes().replace(b"PASS A", b"PASS B"))
    elif damage == "signatures":
        shutil.copy(makes("B", "one") / "signatures.json", root / "current")
    else:
        (root / "current/signatures.json").unlink()
    with pytest.raises(IntegrityError, match=r"expected to learn who signed what is current at .*, found it damaged: "):
        put(makes("C", "one"), root)
    put(makes("C", "one"), root, trusted_keys=signed[0]["one"])


def test_signatures_that_change_places_while_they_are_copied_pin_nobody(makes, raw, root, monkeypatch):
    """Between the check and the copy, as another program on the device could."""
    bundle, real = makes("A", "one"), copying.read_signatures

    def swapped(folder):
        shutil.copy(makes("A", "three") / "signatures.json", bundle)
        return real(folder)

    monkeypatch.setattr(copying, "read_signatures", swapped)
    with pytest.raises(IntegrityError, match="other signatures than were installed"):
        put(bundle, root)
    assert (state(root), names(root), pinned(root)) == ({}, [], set())


def test_a_version_that_others_signed_since_is_copied_anew(makes, raw, root):
    """Its manifest is right, and so is each signature of it."""
    first = put(makes("A", "one"), root).version
    shutil.copy(makes("A", "one", "three") / "signatures.json", root / "current")
    report = put(makes("A", "one"), root)
    assert report.version == f"{first}-2"
    assert (root / "current/signatures.json").read_bytes() == (makes("A", "one") / "signatures.json").read_bytes()
    assert (state(root), pinned(root)) == ({"current": "A"}, {raw["one"]})


def test_what_nobody_could_check_is_not_pinned(makes, raw, root, monkeypatch):
    """Without the package cryptography; with it, what is current tells."""
    first, second, third = makes("A", "one"), makes("B", "one"), makes("C", "two")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cryptography.exceptions", None)
        put(first, root)
    assert not (root / PINNED).exists()
    with pytest.raises(IntegrityError, match="as earlier installs into"):
        put(third, root)
    put(second, root)
    assert pinned(root) == {raw["one"]}


def test_a_rollback_to_whom_nobody_believes_any_more_says_so(makes, signed, root):
    put(makes("A", "one"), root)
    put(makes("B", "two"), root, trusted_keys=signed[0]["two"])
    report = rollback(root, check=well)
    assert mark_of(root / "current") == "A"
    (line,) = report.warnings
    assert line.startswith("what is current again was signed by ")
    assert "whom installs here do not believe any more" in line
    assert not rollback(root, check=well).warnings
    with pytest.raises(IntegrityError, match="expected a signature by"):
        rollback(root, InstallConfig(trusted_keys=signed[0]["two"]), check=well)


def test_the_file_is_nobodys_to_write_but_ours_and_everybodys_to_read(makes, root):
    for umask in (0o000, 0o077):
        before = os.umask(umask)
        try:
            put(makes("A", "one"), root)
        finally:
            os.umask(before)
        assert (root / PINNED).stat().st_mode & 0o777 == 0o644
        (root / PINNED).unlink()


def test_an_unsigned_bundle_is_told_what_would_help(makes, root):
    put(makes("A", "one"), root)
    with pytest.raises(IntegrityError, match="found none; next: a bundle that they signed, or another ROOT"):
        put(makes("C"), root)
    with pytest.raises(IntegrityError, match="; next: --trusted-keys PUB"):
        put(makes("B", "two"), root)
