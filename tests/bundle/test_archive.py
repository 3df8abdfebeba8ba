"""A bundle as one file: zip tools open it, and from it comes the same bundle."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgekit.bundle import archive, unpack, verify, verify_archive, zip_layout
from edgekit.bundle import archive as writing
from edgekit.bundle.verify import verify_folder
from edgekit.cli import main
from edgekit.errors import EdgekitError, IntegrityError, OutputError
from edgekit.runtime import Session
from tests.bundle.hostile_archive import contents, zipped
from tests.install.bundles import tiny


@pytest.fixture
def bundle(small_bundle: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def ekb(bundle: Path, tmp_path: Path) -> Path:
    archive(bundle, tmp_path / "a.ekb")
    return tmp_path / "a.ekb"


def test_there_and_back(bundle, ekb, tmp_path):
    found = unpack(ekb, tmp_path / "back" / "b")
    assert found.manifest == verify(bundle).manifest
    assert contents(found.path) == contents(bundle)
    with Session.open(found.path, "ort") as session:
        assert session.run({"image": session.input("image").copy()})["logits"].shape == (1, 5)


def test_what_is_read_of_a_folder_is_read_of_its_archive(bundle, ekb):
    """Byte by byte, and by zipfile, which knows nothing of edgekit, where each of them begins."""
    from edgekit.bundle import Trust, read_manifest, read_signed

    assert (read_manifest(ekb), read_signed(ekb, Trust())) == (read_manifest(bundle), read_signed(bundle, Trust()))
    names = {*read_manifest(bundle).files}
    for keep in ((), {"model.onnx"}, {"reports/accuracy.json", ""}, names):
        found = verify(ekb, keep=keep)
        assert (found.contents, found.path) == (verify(bundle, keep=keep).contents, ekb)
        assert found.contents == {name: (bundle / name).read_bytes() for name in keep if name}
    data = ekb.read_bytes()
    with zipfile.ZipFile(ekb) as opened:
        for name, start in found.starts.items():
            assert data[start:].startswith(opened.read(name)), name
        assert found.starts.keys() == names
    with pytest.raises(IntegrityError, match=r"expected other\.onnx in .*a\.ekb, found another manifest"):
        verify(ekb, keep={"other.onnx"})


def test_a_session_opens_an_archive(bundle, ekb, tmp_path):
    (tmp_path / "current").symlink_to(ekb)
    image = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    answers = []
    for source in (bundle, ekb, tmp_path / "current"):
        with Session.open(source, "ort") as session:
            assert session.signed == "not signed"
            answers.append(session.run({"image": image})["logits"])
    assert np.array_equal(answers[0], answers[1])
    assert np.array_equal(answers[0], answers[2])
    with pytest.raises(IntegrityError, match="expected a signed bundle, found no signature"):
        Session.open(ekb, require_signature=True)


def test_no_second_copy_of_what_is_kept(tmp_path):
    """Of 48 MiB; and hardly anything where nothing is kept."""
    archive(tiny(tmp_path / "large", "A", 48 << 20), tmp_path / "large.ekb")
    tracemalloc.start()
    try:
        for keep, most in (({"model.onnx"}, 52 << 20), ((), 6 << 20)):
            tracemalloc.reset_peak()
            found = verify(tmp_path / "large.ekb", keep=keep)
            assert tracemalloc.get_traced_memory()[1] < most
            assert len(found.contents) == len(keep)
            del found
    finally:
        tracemalloc.stop()


def test_what_is_archived_or_signed_is_a_folder(ekb, tmp_path, keys):
    from edgekit.bundle import sign

    for call in (lambda: archive(ekb, tmp_path / "b.ekb"), lambda: sign(ekb, keys / "maker")):
        with pytest.raises(EdgekitError, match=f"found the file {ekb}; next: edgekit bundle unpack IN.ekb DIR"):
            call()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ekb", "bundle"]


def test_an_archive_that_becomes_another_one_is_read_anew(ekb, tmp_path, monkeypatch):
    """Behind its manifest another file takes its place; where the same one is written over, nobody knows of what."""
    from edgekit.bundle import Trust
    from edgekit.runtime import opening

    archive(tiny(tmp_path / "B", "B"), tmp_path / "other.ekb")
    real, seen = opening.read_signed, []

    def switched(path, trust):
        seen.append(real(path, trust)[0].verdict)
        if len(seen) == 1:
            shutil.copy(tmp_path / "other.ekb", tmp_path / "aside")
            (tmp_path / "aside").replace(ekb)
        return real(path, trust) if len(seen) > 1 else first

    first = real(ekb, Trust())
    monkeypatch.setattr(opening, "read_signed", switched)
    monkeypatch.setattr(opening, "load", lambda verified, choice: choice.backend)
    assert opening.open_bundle(ekb, "ort", "raise").bundle.manifest.verdict == "PASS B"
    assert seen == [first[0].verdict, "PASS B"]
    monkeypatch.setattr(opening, "read_signed", lambda path, trust: first)
    with pytest.raises(IntegrityError, match=r"expected .* as it was a moment ago, found another|another manifest"):
        opening.open_bundle(ekb, "ort", "raise")


def test_it_is_what_zipfile_would_write(bundle, ekb):
    assert ekb.read_bytes() == zipped(contents(bundle))


def test_other_tools_open_it(bundle, ekb, tmp_path):
    with zipfile.ZipFile(ekb) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == contents(bundle)
        assert opened.namelist()[0] == "manifest.json"
        assert opened.namelist()[1:] == sorted(opened.namelist()[1:])
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-q", ekb, "-d", tmp_path / "unzipped"], check=True)
        assert contents(tmp_path / "unzipped") == contents(bundle)


def test_the_same_bundle_gives_the_same_bytes_whoever_writes_it(bundle, ekb, tmp_path):
    """Another time, other modes, another order on the disk."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name, data in reversed(contents(bundle).items()):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_bytes(data)
        (copy / name).chmod(0o700)
        os.utime(copy / name, (1e9, 1e9))
    archive(copy, tmp_path / "b.ekb")
    assert (tmp_path / "b.ekb").read_bytes() == ekb.read_bytes()


def test_signatures_go_with_it(bundle, tmp_path, keys):
    from edgekit.bundle import sign, trust_in

    sign(bundle, keys / "maker")
    trust = trust_in(keys / "maker.pub")
    assert archive(bundle, tmp_path / "a.ekb").signers == verify(bundle).signers
    assert [it.state for it in verify_archive(tmp_path / "a.ekb", trust).signers] == ["trusted"]
    assert [it.state for it in unpack(tmp_path / "a.ekb", tmp_path / "out", trust).signers] == ["trusted"]
    assert contents(tmp_path / "out") == contents(bundle)
    with pytest.raises(IntegrityError, match="expected a signature by a trusted key"):
        unpack(tmp_path / "a.ekb", tmp_path / "other", trust_in(keys / "other.pub"))
    assert not (tmp_path / "other").exists()


def test_a_damaged_bundle_is_not_archived(bundle, tmp_path):
    (bundle / "model.onnx").write_bytes(b"x")
    with pytest.raises(IntegrityError, match="bytes in"):
        archive(bundle, tmp_path / "a.ekb")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_file_that_changes_while_it_is_archived_is_noticed(bundle, tmp_path, monkeypatch):
    def and_then_changed(folder):
        found = verify_folder(folder)
        (bundle / "model.onnx").write_bytes(b"x" * (bundle / "model.onnx").stat().st_size)
        return found

    monkeypatch.setattr(sys.modules["edgekit.bundle.archive"], "verify_folder", and_then_changed)
    with pytest.raises(IntegrityError, match="as it was a moment ago"):
        writing(bundle, tmp_path / "a.ekb")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_only_an_archive_is_replaced_by_one(bundle, tmp_path):
    (tmp_path / "key").write_text("the only copy")
    with pytest.raises(OutputError, match=r"to replace at .*key, found another file"):
        archive(bundle, tmp_path / "key")
    assert (tmp_path / "key").read_text() == "the only copy"
    for _ in range(2):
        archive(bundle, tmp_path / "again.ekb")


def test_an_archive_in_the_bundle_itself_is_refused(bundle):
    for out in (bundle / "a.ekb", bundle / "reports" / "a.ekb"):
        with pytest.raises(OutputError, match="expected an archive outside"):
            archive(bundle, out)
    verify(bundle)


def test_a_bundle_of_four_gigabytes_stays_a_folder(bundle, tmp_path, monkeypatch):
    size = zip_layout.size_of({name: len(data) for name, data in contents(bundle).items()})
    monkeypatch.setattr(sys.modules["edgekit.bundle.archive"], "LARGEST", size)
    archive(bundle, tmp_path / "a.ekb")
    assert (tmp_path / "a.ekb").stat().st_size == size
    monkeypatch.setattr(sys.modules["edgekit.bundle.archive"], "LARGEST", size - 1)
    with pytest.raises(OutputError, match=f"below 4 GiB to archive, found {size:,} bytes"):
        archive(bundle, tmp_path / "b.ekb")
    assert not (tmp_path / "b.ekb").exists()


def test_an_archive_of_four_gigabytes_is_refused(ekb, monkeypatch):
    """A zip has no number for its sizes, unless it is of another form."""
    monkeypatch.setattr("edgekit.bundle.unarchive.LARGEST", ekb.stat().st_size)
    verify_archive(ekb)
    monkeypatch.setattr("edgekit.bundle.unarchive.LARGEST", ekb.stat().st_size - 1)
    with pytest.raises(IntegrityError, match="expected an archive below 4 GiB"):
        verify_archive(ekb)


def test_what_is_there_is_replaced_only_where_it_is_a_bundle(bundle, ekb, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    unpack(ekb, other)  # empty
    (other / "model.onnx").unlink()
    (other / "signatures.json").write_text("damaged")
    unpack(ekb, other)  # a bundle, which goes, whatever became of it
    assert contents(other) == contents(bundle)
    (other / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match=r"to hold what edgekit wrote there alone, found mine\.txt"):
        unpack(ekb, other)
    assert (other / "mine.txt").read_text() == "x"
    (other / "mine.txt").unlink()
    for name in other.rglob("manifest.json"):
        name.rename(other / "mine.json")
    with pytest.raises(OutputError, match=r"expected .* to be empty or to hold manifest\.json"):
        unpack(ekb, other)
    assert (other / "mine.json").exists()
    with pytest.raises(OutputError, match="found the file"):
        unpack(ekb, ekb)


@pytest.mark.parametrize("text", ['{"name": "a web app", "files": {}}', "[]", "{", "", '{"manifest_version": 3}', None])
def test_a_manifest_of_somebody_elses_is_not_replaced(ekb, tmp_path, text):
    """A web app and a browser's extension have a manifest.json, too."""
    (tmp_path / "app").mkdir()
    if text is None:
        (tmp_path / "app" / "manifest.json").symlink_to(ekb)
    else:
        (tmp_path / "app" / "manifest.json").write_text(text)
    (tmp_path / "app" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match=r"to hold what edgekit wrote there alone, found manifest\.json"):
        unpack(ekb, tmp_path / "app")
    assert (tmp_path / "app" / "thesis.txt").read_text() == "years of work"


def test_a_replaced_bundle_stays_where_the_new_one_is_damaged(bundle, ekb, tmp_path):
    unpack(ekb, tmp_path / "out")
    ekb.write_bytes(ekb.read_bytes()[:-1])
    with pytest.raises(IntegrityError):
        unpack(ekb, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(bundle)


@pytest.mark.parametrize("name", ["nowhere", "folder", "pipe"])
def test_what_is_no_file_is_refused(tmp_path, name):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for call in (verify_archive, lambda path: unpack(path, tmp_path / "out")):
        with pytest.raises(IntegrityError, match=r"expected an archive of a bundle at .*, found no file"):
            call(tmp_path / name)
    assert not (tmp_path / "out").exists()


def run(capsys, *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as done:
        main(["bundle", *map(str, arguments)])
    printed = capsys.readouterr()
    assert not (printed.out and printed.err)
    return int(done.value.code or 0), printed.out or printed.err


def test_on_the_command_line(bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, said = run(capsys, "pack", "bundle", "a.ekb")
    size = Path("a.ekb").stat().st_size
    count = len(contents(bundle)) - 1  # of which the manifest is none
    assert (code, said) == (0, f"a.ekb: {count} files, {size:,} bytes; not signed\n")
    code, said = run(capsys, "verify", "a.ekb")
    assert (code, said.splitlines()[0]) == (0, f"a.ekb: {count} files, all digests match; not signed")
    assert run(capsys, "verify", "bundle")[1].splitlines()[1:] == said.splitlines()[1:]
    code, said = run(capsys, "unpack", "a.ekb", "b")
    assert (code, said.splitlines()[0]) == (0, f"b: {count} files, all digests match; not signed")
    assert contents(Path("b")) == contents(bundle)
    unsigned = "edgekit: error: expected a signed bundle, found no signature; next: get it from its maker, signed\n"
    assert run(capsys, "verify", "a.ekb", "--require-signature") == (7, unsigned)
    assert run(capsys, "unpack", "a.ekb", "c", "--require-signature") == (7, unsigned)
    assert not Path("c").exists()
    assert '"bytes"' in run(capsys, "pack", "bundle", "c.ekb", "--json")[1]
    assert '"signers"' in run(capsys, "unpack", "a.ekb", "c", "--json")[1]
