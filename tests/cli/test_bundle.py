"""`edgekit bundle`: keys, signatures and their verification, each refusal in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="signatures need the extra sign")

from edgekit.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_bundle: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_bundle, "b")
    return tmp_path


@pytest.fixture
def edgekit(here, capsys):
    """Run a command of the group, or inspect, in this process: its code, and what it said on either of the two."""

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as exit_info:
            main([*arguments] if arguments[0] == "inspect" else ["bundle", *arguments])
        printed = capsys.readouterr()
        assert not (printed.out and printed.err)
        return int(exit_info.value.code or 0), printed.out or printed.err

    return run


def id_in(said: str) -> str:
    return next(word.strip(",") for word in said.split() if len(word.strip(",")) == 16)


def test_from_a_key_to_a_verified_bundle(edgekit):
    code, said = edgekit("keygen", "keys/maker")
    assert code == 0
    maker = id_in(said)
    assert said == f"keys/maker: the private key, keep it; keys/maker.pub: the public key {maker}, for the devices\n"
    assert edgekit("verify", "b")[1].splitlines()[0].endswith("all digests match; not signed")
    assert edgekit("sign", "b", "--key", "keys/maker") == (0, f"b: signed by {maker}\n")
    code, said = edgekit("verify", "b")
    assert code == 0
    assert said.splitlines()[0].endswith(f"all digests match; signed by {maker}, valid, no trusted keys given")
    code, said = edgekit("verify", "b", "--trusted-keys", "keys", "--require-signature")
    assert code == 0
    assert said.splitlines()[0].endswith(f"all digests match; signed by {maker}, trusted")


def test_who_is_refused(edgekit):
    one, two = (id_in(edgekit("keygen", name)[1]) for name in ("one", "two"))
    trusted = ("--trusted-keys", "two.pub")
    unsigned = "edgekit: error: expected a signed bundle, found no signature; next: get it from its maker, signed\n"
    assert edgekit("verify", "b", "--require-signature") == (7, unsigned)
    assert edgekit("verify", "b", *trusted) == (7, unsigned)
    edgekit("sign", "b", "--key", "one")
    assert edgekit("verify", "b", "--require-signature")[0] == 0
    code, said = edgekit("verify", "b", *trusted)
    assert code == 7
    assert said.startswith(f"edgekit: error: expected a signature by a trusted key, {two}, found {one}")
    assert edgekit("verify", "b", *trusted, "--trusted-keys", "one.pub")[0] == 0
    edgekit("sign", "b", "--key", "two")
    code, said = edgekit("verify", "b", *trusted)
    assert code == 0
    assert f"signed by {two}, trusted and by {one}, not among the trusted keys\n" in said
    Path("b/signatures.json").write_text("{}")
    assert edgekit("verify", "b")[0] == 7
    assert edgekit("sign", "b", "--key", "one")[0] == 7


def test_inspect_names_the_signer(edgekit):
    assert json.loads(edgekit("inspect", "b", "--json")[1])["signature"] == "not signed"
    maker = id_in(edgekit("keygen", "k")[1])
    edgekit("sign", "b", "--key", "k")
    assert f"signed by {maker}, valid" in edgekit("inspect", "b")[1]


def test_as_json(edgekit):
    made = json.loads(edgekit("keygen", "k", "--json")[1])
    assert made == {"private": "k", "public": "k.pub", "key": made["key"]}
    assert json.loads(edgekit("verify", "b", "--json")[1])["signers"] == []
    signed = json.loads(edgekit("sign", "b", "--key", "k", "--json")[1])
    assert signed == {"path": "b", "key": made["key"], "warnings": []}
    verified = json.loads(edgekit("verify", "b", "--trusted-keys", "k.pub", "--json")[1])
    assert verified["signers"] == [{"key": made["key"], "state": "trusted"}]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["keygen"], 2, "Missing argument 'KEY'"),
        (["keygen", "b"], 1, "expected no file at b, found one"),
        (["keygen", "k.pub"], 1, "expected a name for the private key"),
        (["keygen", "text/k"], 1, "expected to be able to write text/k"),
        (["sign", "b"], 2, "Missing option '--key'"),
        (["sign", "b", "--key", "nowhere"], 1, "in nowhere, found no such file; next: edgekit bundle keygen KEY"),
        (["sign", "b", "--key", "text"], 1, "expected an ed25519 private key as PEM in text, found none"),
        (["verify", "b", "--trusted-keys", "nowhere"], 1, "in nowhere, found no such file"),
        (["verify", "b", "--trusted-keys", "text"], 1, "expected an ed25519 public key as PEM in text, found none"),
        (["verify", "b", "--trusted-keys", "b"], 1, "expected public keys, *.pub, in b, found none"),
        (["verify", "b", "--trusted-keys", ""], 1, "found an empty list or name"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_one_line_and_nothing_written(edgekit, arguments, code, says):
    Path("text").write_text("no key")
    before = sorted(Path().rglob("*"))
    found, line = edgekit(*arguments)
    assert (found, says in line, line.count("\n")) == (code, True, 1), line
    assert sorted(Path().rglob("*")) == before


def test_a_bundle_that_is_none_is_not_signed(edgekit):
    edgekit("keygen", "k")
    assert edgekit("sign", "nowhere", "--key", "k")[0] == 1
    assert edgekit("sign", ".", "--key", "k")[0] == 7
    assert not Path("signatures.json").exists()
    shutil.move("k", "b/k")
    code, said = edgekit("sign", "b", "--key", "b/k")
    assert (code, "found k too" in said) == (7, True)
