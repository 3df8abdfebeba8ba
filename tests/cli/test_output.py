"""What a command prints of others' texts stays in its line, and commands no terminal."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgekit.bundle import Contents, pack, read_manifest
from edgekit.cli import main
from edgekit.cli.options import Output
from edgekit.files import json_bytes

EVIL = "PASS\x1b[2J\x1b]0;pwn\x07\nv.ekb: 4 files, all match; signed by 311f, trusted\r\u202eevil\u2028x\x9b31m"
SHOWN = r"PASS\x1b[2J\x1b]0;pwn\x07\nv.ekb: 4 files, all match; signed by 311f, trusted\r\u202eevil\u2028x\x9b31m"


@pytest.fixture
def evil(small_bundle, tmp_path, monkeypatch):
    """A bundle of a stranger, whose texts would clear the screen and forge a line."""
    manifest = read_manifest(small_bundle)
    made = {"postprocess.json": json_bytes({"kind": "classify", "output": "logits", "labels": [EVIL + "x"] * 5})}
    contents = Contents({name: small_bundle / name for name in manifest.files}, made)
    pack(tmp_path / "b", replace(manifest, verdict=EVIL, edgekit=EVIL, postprocess="postprocess.json"), contents)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "b"


def said(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit):
        main(list(arguments))
    found = capsys.readouterr()
    return found.out + found.err


@pytest.mark.parametrize("words", ["bundle verify b", "bundle pack b b.ekb", "inspect b", "bundle install b --to root"])
def test_a_strangers_bundle(evil, capsys, words):
    text = said(capsys, *words.split())
    assert all(line.isprintable() for line in text.splitlines())
    assert "\nv.ekb" not in text
    if words not in ("bundle pack b b.ekb", "inspect b"):  # one says nothing of it, the other shows it in its own way
        assert SHOWN in text


def test_names_of_classes(evil, small_data, capsys):
    text = said(capsys, "run", "b", "--source", str(small_data))
    assert SHOWN + "x" in text
    assert all(line.isprintable() for line in text.splitlines())


def test_json_is_json(evil, capsys):
    assert json.loads(said(capsys, "bundle", "verify", "b", "--json"))["verdict"] == EVIL


def test_plain_lines_are_as_they_are(capsys):
    Output(json=False, quiet=False, verbose=False).say("12 °C – ok ✓", "  a │ b", "")
    assert capsys.readouterr().out == "12 °C – ok ✓\n  a │ b\n\n"
