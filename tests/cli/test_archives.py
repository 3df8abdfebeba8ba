"""`run`, `bench`, `validate` and `inspect` of an archive do what they do of its folder."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from edgekit.bundle import archive
from edgekit.cli import main

pytest.importorskip("onnx")


@pytest.fixture
def here(small_onnx: Path, small_data: Path, small_bundle: Path, tmp_path: Path, monkeypatch) -> Path:
    """The working folder with a bundle and its archive; temporary files have a folder of their own."""
    work = tmp_path / "work"
    (work / "temporary").mkdir(parents=True)
    shutil.copy(small_onnx, work / "small.onnx")
    shutil.copy(small_data, work / "small.npz")
    shutil.copytree(small_bundle, work / "bundle")
    archive(work / "bundle", work / "b.ekb")
    monkeypatch.chdir(work)
    monkeypatch.setattr(tempfile, "tempdir", str(work / "temporary"))
    return work


@pytest.fixture
def called(capsys):
    """`called(*arguments)` is the exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


BENCH = ("--requests", "60", "--cold-starts", "1", "--beside", "b.ekb@20", "--data", "small.npz", "--out", "b.json")
VALIDATE = ("--reference", "small.onnx", "--data", "small.npz", "--budget", "sqnr_db>=30", "--out", "v.json")


def test_run(here, called):
    told = {}
    for source in ("bundle", "b.ekb"):
        code, out, err = called("run", source, "--source", "small.npz", "--json")
        assert (code, err) == (0, "")
        told[source] = [(frame["name"], frame["answer"]) for frame in json.loads(out)["frames"]]
    assert told["b.ekb"] == told["bundle"]
    assert len(told["b.ekb"]) == 8


@pytest.mark.slow
def test_bench(here, called):
    """In this process, in one of its own beside it, and in one that is started anew."""
    code, _, err = called("bench", "b.ekb", *BENCH, "--quiet")
    assert (code, err) == (0, "")
    found = json.loads(Path("b.json").read_text())
    assert (found["source"], found["backend"], len(found["starts"])) == ("b.ekb", "ort", 1)
    assert [item["source"] for item in found["company"]] == ["b.ekb"]
    assert list((here / "temporary").iterdir()) == []


def test_validate(here, called):
    assert called("validate", "b.ekb", *VALIDATE)[0] == 0
    archived = json.loads(Path("v.json").read_text())
    assert called("validate", "bundle", *VALIDATE)[0] == 0
    folder = json.loads(Path("v.json").read_text())
    assert (archived["source"], archived["verdict"]) == ("b.ekb", "PASS (ort, cpu)")
    assert archived["accuracy"] == folder["accuracy"]
    assert list((here / "temporary").iterdir()) == [], "the model was copied there, and is gone"


def test_inspect(here, called):
    told = [json.loads(called("inspect", source, "--json")[1]) for source in ("bundle", "b.ekb")]
    assert (told[0].pop("kind"), told[1].pop("kind")) == ("bundle", "archive of a bundle")
    assert {item.pop("path") for item in told} == {"bundle", "b.ekb"}
    assert told[0] == told[1]


RUN = ("run", "b.ekb", "--source", "small.npz")
SIGNED = "--require-signature"


@pytest.mark.parametrize(
    "words",
    [
        RUN,
        ("bench", "b.ekb", *BENCH),
        ("bench", "small.onnx", *BENCH),  # with the archive beside it
        ("validate", "b.ekb", *VALIDATE),
        (*RUN, SIGNED),
        ("bench", "b.ekb", *BENCH, SIGNED),
        ("validate", "b.ekb", *VALIDATE, SIGNED),
    ],
    ids=" ".join,
)
def test_what_is_off_ends_with_seven_and_writes_nothing(here, called, words):
    if SIGNED not in words:
        data = bytearray(Path("b.ekb").read_bytes())
        data[data.index(b"kernel")] ^= 1
        Path("b.ekb").write_bytes(data)
    before = sorted(here.rglob("*"))
    code, out, err = called(*words)
    assert (code, out, err.count("\n")) == (7, "", 1), err
    assert ("expected a signed bundle" if SIGNED in words else "it was changed") in err
    assert sorted(here.rglob("*")) == before


def test_who_is_beside_is_asked_for_a_signature_too(here, called):
    """Also where the one that is measured has one."""
    pytest.importorskip("cryptography", reason="signatures need the extra sign")
    shutil.copytree("bundle", "signed")
    assert (
        called("bundle", "keygen", "key", "-q")[0] == called("bundle", "sign", "signed", "--key", "key", "-q")[0] == 0
    )
    code, _, err = called("bench", "signed", *BENCH, "--trusted-keys", "key.pub")
    assert (code, "expected a signed bundle, found no signature" in err) == (7, True), err
