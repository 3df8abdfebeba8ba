"""`edgekit bundle install` and `rollback`: what they say, and with which code they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.cli import main
from edgekit.errors import SessionError
from tests.install.bundles import HEALTH, names, state, tiny, version


@pytest.fixture
def edgekit(bundles, tmp_path, monkeypatch, capsys):
    """Run a command of the group in this process, with a check that costs nothing: its code, output and errors."""
    monkeypatch.chdir(tmp_path)
    configs = []

    def check(folder, config):
        configs.append(config)
        return HEALTH

    # A default is bound when the function is made.
    for function in ("install", "rollback"):
        monkeypatch.setattr(f"edgekit.install.{function}.__defaults__", _defaults(function, check))

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_info:
            main(["bundle", *arguments])
        printed = capsys.readouterr()
        return int(exit_info.value.code or 0), printed.out, printed.err

    run.configs = configs
    return run


def _defaults(function: str, check) -> tuple:
    import edgekit.install

    return (*getattr(edgekit.install, function).__defaults__[:-1], check)


def test_from_the_first_to_the_second_and_back(edgekit, root):
    where = f"current   {root}/current -> "
    assert edgekit("install", "bundle-A", "--to", str(root)) == (
        0,
        f"{where}{version(root)} (before: none)\nsigned    not signed\nruns on   fake, no device (a test)\n"
        "compared  nothing\nPASS A\n",
        "",
    )
    first = version(root)
    assert f"{first} (as before)" in edgekit("install", "bundle-A", "--to", str(root))[1]
    assert f"(before: {first})" in edgekit("install", "bundle-B", "--to", str(root))[1]
    code, said, _ = edgekit("rollback", str(root))
    assert (code, f"{where}{first} (before: " in said) == (0, True)
    assert state(root) == {"current": "A", "previous": "B"}


@pytest.mark.parametrize("asked", [(), ("--json",), ("-q",)])
def test_what_is_installed_is_so_also_where_nobody_can_be_told(root, tmp_path, asked):
    """The code is what an updater goes by."""
    pytest.importorskip("onnxruntime")
    from tests.install.test_health import times

    two, three = (times(factor, tmp_path / str(factor)) for factor in (2, 3))
    said = "it was told" if "-q" in asked else f"{root}/current is "
    command = [sys.executable, "-m", "edgekit", "bundle"]
    with Path("/dev/full").open("w") as full:
        for words in (
            ["install", two, "--to", root],
            ["install", three, "--to", root],
            ["rollback", root],
        ):
            done = subprocess.run(
                [*command, *words, *asked], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
            )
            assert (done.returncode, done.stderr.count("\n")) == (0, 0 if "-q" in asked else 1), done.stderr
            if "-q" not in asked:
                assert done.stderr.startswith(f"edgekit: warning: {said}")
                assert done.stderr.endswith("now, but that could not be written here: No space left on device\n")
    models = [(root / link / "model.onnx").read_bytes() for link in ("current", "previous")]
    assert models == [(bundle / "model.onnx").read_bytes() for bundle in (two, three)]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*command, "rollback", root], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writer)
    assert (done.returncode, (root / "current/model.onnx").read_bytes()) == (0, models[1])
    closed = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command, "rollback", root], stderr=subprocess.PIPE, timeout=120
    )
    assert (closed.returncode, closed.stderr, (root / "current/model.onnx").read_bytes()) == (0, b"", models[0])


def test_as_json(edgekit, root):
    table = json.loads(edgekit("install", "bundle-A", "--to", str(root), "--json")[1])
    assert table["health"] == {"backend": "fake", "device": "no device", "engine": "", "reason": "a test"} | {
        "compared": "nothing"
    }
    assert {
        name: table[name] for name in ("stage", "path", "version", "replaced", "removed", "engines", "warnings")
    } == {
        **{"stage": "install", "path": f"{root}/current", "version": version(root), "replaced": ""},
        **{"removed": [], "engines": [], "warnings": []},
    }
    edgekit("install", "bundle-B", "--to", str(root), "--quiet")
    assert json.loads(edgekit("rollback", str(root), "--json")[1])["version"] == table["version"]


def test_the_options_are_those_of_the_config(edgekit, root):
    options = ("--backend", "ort", "--no-fallback", "--wait", "2.5")
    assert edgekit("install", "bundle-A", "--to", str(root), *options)[0] == 0
    (config,) = edgekit.configs
    assert (config.backend, config.fallback, config.wait, config.require_signature) == ("ort", False, 2.5, False)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["install", "bundle-A"], 2, "Missing option '--to'"),
        (["install", "bundle-A", "--to", "r", "--wait", "-1"], 2, "wait: expected 0 or more"),
        (["install", "", "--to", "r"], 2, "expected a name, found none"),
        (["install", "nowhere", "--to", "r"], 1, "expected a bundle, a folder or an .ekb, at nowhere, found none"),
        (["install", "text", "--to", "r"], 7, "expected an archive of a bundle in text, found none"),
        (["install", "bundle-A", "--to", "text"], 1, "expected a folder to install into, found the file"),
        (["install", "bundle-A", "--to", "bundle-A/r"], 1, "expected ROOT outside of the bundle"),
        (["install", "bundle-A", "--to", "r", "--backend", "trt"], 6, "expected an engine for trt in the bundle"),
        (["install", "bundle-A", "--to", "r", "--no-fallback"], 6, "expected an engine that runs here, found none"),
        (["install", "bundle-A", "--to", "r", "--golden", "text"], 1, "expected arrays at text"),
        (["install", "bundle-A", "--to", "r", "--trusted-keys", "text"], 1, "expected an ed25519 public key"),
        (["install", "bundle-A", "--to", "r", "--trusted-keys", ""], 2, "expected a name, found none"),
        (["install", "bundle-A", "--to", "r", "--require-signature"], 7, "expected a signed bundle"),
        (["install", "damaged", "--to", "r"], 7, "labels.txt, found others"),
        (["rollback", "r"], 1, "expected a folder of installed bundles at"),
        (["rollback", "bundle-A"], 1, "expected a folder of installed bundles at"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_wrong_is_one_line_and_nothing_is_current(edgekit, arguments, code, says):
    if "--trusted-keys" in arguments or "--require-signature" in arguments:
        pytest.importorskip("cryptography", reason="signatures need the extra sign")
    Path("text").write_text("text")
    (tiny(Path("damaged"), "D") / "labels.txt").write_text("E labels")
    found, out, line = edgekit(*arguments)
    assert (found, says in line, line.count("\n"), out) == (code, True, 1, ""), line
    assert not list(Path().rglob("current"))
    assert not Path("r").exists() or names(Path("r")) == []


def test_a_wrong_answer_leaves_the_old_bundle(edgekit, root, monkeypatch):
    edgekit("install", "bundle-A", "--to", str(root))

    def check(folder, config):
        raise SessionError("golden input: expected y within 20 dB of what it should be, found 3.0 dB")

    monkeypatch.setattr("edgekit.install.install.__defaults__", _defaults("install", check))
    code, out, line = edgekit("install", "bundle-B", "--to", str(root))
    assert (code, out) == (1, "")
    assert line == "edgekit: error: golden input: expected y within 20 dB of what it should be, found 3.0 dB\n"
    assert state(root) == {"current": "A"}


def test_a_warning_goes_to_standard_error(edgekit, root, monkeypatch):
    monkeypatch.setattr("edgekit.install.report._warnings", lambda *_: ("no engine of the bundle runs here",))
    code, out, err = edgekit("install", "bundle-A", "--to", str(root), "--json")
    assert (code, err) == (0, "edgekit: warning: no engine of the bundle runs here\n")
    assert json.loads(out)["warnings"] == ["no engine of the bundle runs here"]
