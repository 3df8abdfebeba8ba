"""The hostile corpus: each kind is refused with code 7 and one line before anything is deserialised."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("cryptography", reason="signatures need the extra sign")

from edgekit.bundle import Trust, archive, trust_in, unpack, verify, verify_archive
from edgekit.cli import main
from edgekit.errors import IntegrityError
from edgekit.inspect import inspect
from edgekit.runtime import Session
from tests.bundle import hostile, hostile_archive, hostile_onnx

CORPUS = {
    "folder": hostile.IN_THE_FOLDER,
    "manifest": hostile.IN_THE_MANIFEST,
    "names": hostile.OF_NAMES,
    "signatures": hostile.IN_THE_SIGNATURES,
    "engine": hostile.IN_AN_ENGINE,
    "spec": hostile.IN_A_SPEC,
    "model": hostile_onnx.IN_THE_MODEL,
}
CASES = [pytest.param(kind, id=f"{room}: {name}") for room, kinds in CORPUS.items() for name, kind in kinds.items()]
# What an open path could call: models, engines, arrays, objects, tokenizers.
WATCHED: list[tuple[object, str]] = [(onnxruntime, "InferenceSession"), (np, "load"), (pickle, "loads")]
for module, name in (("tensorrt_rtx", "Runtime"), ("tokenizers", "Tokenizer"), ("onnx", "load_model_from_string")):
    with contextlib.suppress(ImportError):
        WATCHED.append((importlib.import_module(module), name))
ARCHIVES = [pytest.param(damage, id=name) for name, damage in hostile_archive.KINDS.items()]


@pytest.fixture(scope="module")
def good(shared, small_onnx: Path, keys: Path) -> Path:
    return shared("hostile-bundles", lambda folder: hostile.make_good(folder, small_onnx, keys / "maker")) / "good"


@pytest.fixture(scope="module")
def good_archive(shared, good: Path) -> bytes:
    return (shared("hostile-ekb", lambda folder: archive(good, folder / "good.ekb")) / "good.ekb").read_bytes()


@pytest.fixture
def bundle(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good, tmp_path / "b")
    return tmp_path / "b"


@pytest.fixture
def ran(monkeypatch) -> list[str]:
    """What deserialised anything, or loaded code: each of these is watched, and none of them gets any further."""
    called: list[str] = []

    def watch(where: object, name: str) -> None:
        def stop(*_: object, **__: object) -> None:
            called.append(name)
            raise RuntimeError(f"{name} was reached")

        monkeypatch.setattr(where, name, stop)

    for where, name in WATCHED:
        watch(where, name)
    return called


def refuses(call) -> str:
    """The one line in which a call refuses, with the code 7."""
    with pytest.raises(IntegrityError) as caught:
        call()
    line = str(caught.value)
    assert caught.value.exit_code == 7
    assert line.startswith("expected ")
    assert "found" in line
    assert not set(line) & set("\n\r\0")
    assert len(line) < 1000
    return line


def test_the_corpus_is_large_enough():
    assert len(CASES) + len(ARCHIVES) >= 200
    assert len({param.id for param in (*CASES, *ARCHIVES)}) == len(CASES) + len(ARCHIVES)


def test_the_spy_sees_a_model_that_is_loaded(good, ran):
    """A control: the good bundle goes so far."""
    with pytest.raises(Exception, match="InferenceSession was reached"):
        Session.open(good, "ort")
    assert ran == ["InferenceSession"]


def test_the_spy_sees_an_archive_that_is_loaded(good_archive, tmp_path, ran):
    """As well; and `inspect` deserialises nothing of it."""
    (tmp_path / "good.ekb").write_bytes(good_archive)
    with pytest.raises(Exception, match="InferenceSession was reached"):
        Session.open(tmp_path / "good.ekb", "ort")
    assert inspect(tmp_path / "good.ekb").kind == "archive of a bundle"
    assert ran == ["InferenceSession"]


def test_folders_that_nest_as_deep_as_a_disk_lets_them(bundle, ran):
    place = os.open(bundle, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    try:
        for call in (Session.open, inspect, verify):
            assert "found d/ too" in refuses(lambda call=call: call(bundle))
    finally:
        subprocess.run(["rm", "-rf", bundle], check=True)  # as deep as no Python of ours goes


@pytest.mark.parametrize("kind", CASES)
def test_a_hostile_bundle_is_refused(bundle, ran, kind):
    kind(bundle)
    before = sorted(str(item) for item in bundle.parent.rglob("*"))
    refuses(lambda: Session.open(bundle))
    refuses(lambda: Session.open(bundle, "ort"))
    refuses(lambda: inspect(bundle))
    refuses(lambda: verify(bundle))
    refuses(lambda: archive(bundle, bundle.parent / "x.ekb"))
    assert ran == []
    assert sorted(str(item) for item in bundle.parent.rglob("*")) == before


@pytest.mark.parametrize("damage", ARCHIVES)
def test_a_hostile_archive_is_refused(good_archive, tmp_path, ran, damage):
    bad = damage(good_archive)
    assert bad != good_archive
    path = tmp_path / "bad.ekb"
    path.write_bytes(bad)
    refuses_archive(path)
    assert ran == []
    assert list(tmp_path.iterdir()) == [path]


def refuses_archive(path: Path) -> None:
    """All who read one refuse it, wherever they stop reading."""
    refuses(lambda: verify_archive(path))
    refuses(lambda: verify(path, keep=("model.onnx",)))
    refuses(lambda: unpack(path, path.with_name("out")))
    refuses(lambda: Session.open(path))
    refuses(lambda: Session.open(path, "ort"))
    refuses(lambda: inspect(path))


@pytest.mark.parametrize("name", ["a manifest of 2 MiB", "a manifest without end", "signatures without end"])
def test_what_only_its_header_tells_the_size_of_is_bounded(good_archive, tmp_path, name):
    """Before a byte of it is read."""
    (tmp_path / "bad.ekb").write_bytes(hostile_archive.KINDS[name](good_archive))
    assert "below 1048576 bytes" in refuses(lambda: verify_archive(tmp_path / "bad.ekb"))


def resealed_archive(bundle: Path, path: Path) -> Path:
    """The files as they are, zipped by zipfile in edgekit's form."""
    path.write_bytes(hostile_archive.zipped(hostile_archive.contents(bundle)))
    return path


# Of what a folder alone can have no archive can be made: links, pipes, a folder in the place of a file.
INSIDE = [
    pytest.param(kind, id=f"{room}: {name}")
    for room, kinds in CORPUS.items()
    for name, kind in kinds.items()
    if room != "folder" and (room, name) != ("signatures", "a folder")
]


@pytest.mark.parametrize("kind", INSIDE)
def test_an_archive_of_a_hostile_bundle_is_refused_too(bundle, tmp_path, ran, kind):
    """In the very form of edgekit's archives: it is what is in it that is off."""
    kind(bundle)
    refuses_archive(resealed_archive(bundle, tmp_path / "x.ekb"))
    assert (ran, (tmp_path / "out").exists()) == ([], False)


def test_zipfile_makes_the_same_archive_of_the_good_bundle(good, good_archive):
    """Without this the test above would show nothing."""
    assert hostile_archive.zipped(hostile_archive.contents(good)) == good_archive


def test_who_can_compute_digests_is_stopped_by_trust_alone(bundle, tmp_path, keys):
    """Another vocabulary, a right manifest, no signature: whole, but nobody's."""
    hostile.holding("vocabulary.txt", "x y z")(bundle)
    path = resealed_archive(bundle, tmp_path / "x.ekb")
    verify(bundle), verify_archive(path)
    for trust in (trust_in(keys / "maker.pub"), Trust(required=True)):
        refuses(lambda trust=trust: verify(bundle, trust=trust))
        refuses(lambda trust=trust: verify_archive(path, trust))
        refuses(lambda trust=trust: unpack(path, tmp_path / "out", trust))
        refuses(lambda trust=trust: verify(path, trust=trust))
    for source in (bundle, path):
        refuses(lambda source=source: Session.open(source, trusted_keys=keys / "maker.pub"))
        refuses(lambda source=source: Session.open(source, require_signature=True))
    assert not (tmp_path / "out").exists()


ON_THE_COMMAND_LINE = [
    ("model", "weights in memory"),
    ("model", "functions nested 100 deep"),
    ("engine", "a library"),
    ("spec", "an integer that is no float"),
    ("manifest", "half of a character"),
    ("names", "named 'a\\n'"),
]


@pytest.mark.parametrize(("room", "name"), ON_THE_COMMAND_LINE)
def test_the_command_line_refuses_in_one_line(bundle, capsys, room, name):
    CORPUS[room][name](bundle)
    for arguments in (["bundle", "verify", bundle], ["bundle", "pack", bundle, bundle.parent / "x.ekb"]):
        with pytest.raises(SystemExit) as done:
            main(list(map(str, arguments)))
        printed = capsys.readouterr()
        assert (done.value.code, printed.out, printed.err.count("\n")) == (7, "", 1)
        assert printed.err.startswith("edgekit: error: expected ")


def test_a_process_refuses_a_hostile_archive(good_archive, tmp_path):
    (tmp_path / "bad.ekb").write_bytes(hostile_archive.KINDS["a link"](good_archive))
    command = [sys.executable, "-m", "edgekit", "bundle", "unpack", "bad.ekb", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (7, "", 1), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.ekb"]


def flips(size: int, count: int):
    """`count` places, spread evenly, and what to flip there: another bit at each."""
    for index in range(count):
        yield index * size // count, 1 << index % 8


def test_five_thousand_flips_in_the_files_of_a_signed_bundle(bundle, keys):
    """As many in each file, whatever its size, so that none is left out."""
    trust = trust_in(keys / "maker.pub")
    names = [path for path in sorted(bundle.rglob("*")) if path.is_file()]
    done = 0
    for path in names:
        data = path.read_bytes()
        for place, bit in flips(len(data), 5000 // len(names) + 1):
            path.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
            with pytest.raises(IntegrityError):
                verify(bundle, trust=trust)
            done += 1
        path.write_bytes(data)
    assert done >= 5000
    verify(bundle, trust=trust)


def test_five_thousand_flips_in_an_archive(good_archive, tmp_path, keys):
    trust, path = trust_in(keys / "maker.pub"), tmp_path / "x.ekb"
    for place, bit in flips(len(good_archive), 5000):
        path.write_bytes(good_archive[:place] + bytes([good_archive[place] ^ bit]) + good_archive[place + 1 :])
        with pytest.raises(IntegrityError):
            verify_archive(path, trust)
    path.write_bytes(good_archive)
    verify_archive(path, trust)
