"""Every command that writes, on the smallest inputs, and what each has to be when something stands in its way."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgekit.cli import main

NET = """
import torch


def make():
    return torch.nn.Linear(64, 32), {"input": torch.ones(2, 64)}
"""
RECIPE = """
[validate]
budget = "sqnr_db>=20"
"""
# A folder whose name is one of these counts as an earlier output of ours, by what lies in it.
_MARKERS = {
    **dict.fromkeys(("bundle", "robot"), ("manifest.json", '{"files": {}, "manifest_sha256": "", "schema": 3}')),
    "m.engine.package": ("package.json", '{"stage": "package"}'),
}
_LINE = re.compile(r"edgekit: error: expected [^\n]+, found[: ][^\n]+; next: [^\n]+\n")


@dataclass(frozen=True)
class Command:
    """`words` of the command line, in a folder that has `in` and `out`; `outs` are the files and folders in `out` that
    it is about. `code` is its exit code where nothing stands in the way, and `needs` a module that it imports."""

    words: str
    outs: tuple[str, ...]
    code: int = 0
    needs: str = "onnx"


ONNX, DATA = "in/small.onnx", "in/small.npz"
COMMANDS = {
    "export": Command(
        "export in/net.py:make out/m.onnx --save-examples",
        ("m.onnx", "m.onnx.json", "m.onnx.examples.npz"),
        needs="torch",
    ),
    "quantize": Command(f"quantize {ONNX} out/m.onnx --precision fp16", ("m.onnx", "m.onnx.json")),
    "quantize int8": Command(
        f"quantize {ONNX} out/m.onnx --precision int8 --data {DATA} --calibration-cache out/m.cache",
        ("m.onnx", "m.onnx.json", "m.onnx.scales.json", "m.cache"),
    ),
    "build-engine cpu": Command(f"build-engine {ONNX} out/m.engine --target cpu", ("m.engine", "m.engine.json")),
    "build-engine rtx": Command(
        f"build-engine {ONNX} out/m.engine --target rtx --compute-capability 8.9",
        ("m.engine", "m.engine.json"),
        needs="tensorrt_rtx",
    ),
    "build-engine package": Command(f"build-engine {ONNX} out/m.engine --target jetpack6", ("m.engine.package",), 6),
    "validate": Command(
        f"validate {ONNX} --reference {ONNX} --data {DATA} --out out/v.json --html out/v.html --markdown out/v.md",
        ("v.json", "v.html", "v.md"),
    ),
    "bench": Command(
        f"bench {ONNX} --requests 120 --out out/b.json --html out/b.html --markdown out/b.md --trace out/b.trace.json "
        "--raw out/b.npz",
        ("b.json", "b.html", "b.md", "b.trace.json", "b.npz"),
    ),
    # The files in out/stages are of one stage each; the bundle and its report are what counts.
    "deploy": Command(
        f"deploy {ONNX} out --target cpu --precision fp32 --data {DATA} --recipe in/recipe.toml",
        ("bundle", "bundle.json"),
    ),
    "check": Command(f"check {ONNX} --target cpu --html out/c.html", ("c.html",)),
    "inspect": Command(f"inspect {ONNX} --html out/i.html", ("i.html",)),
    "bundle pack": Command("bundle pack in/bundle out/b.ekb", ("b.ekb",)),
    "bundle unpack": Command("bundle unpack in/b.ekb out/bundle", ("bundle",)),
    "bundle add-engine": Command("bundle add-engine in/bundle in/m.plan out/robot", ("robot",)),
    "plugins build": Command(
        "plugins build --emulator --out out", ("libedgekit_emu.so", "libedgekit_emu.so.json"), needs="ctypes"
    ),
}


def fill(folder: Path, onnx: Path, data: Path, bundle: Path) -> None:
    """The inputs of all commands."""
    from edgekit.bundle import archive
    from tests.bundle.hostile import built_of

    shutil.copy(onnx, folder / "small.onnx")
    shutil.copy(data, folder / "small.npz")
    shutil.copytree(bundle, folder / "bundle")
    archive(folder / "bundle", folder / "b.ekb")
    built_of(folder / "bundle" / "model.onnx", folder / "m.plan")
    (folder / "net.py").write_text(NET)
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "report.json").write_text(json.dumps({"stage": "validate", "accuracy": {"sqnr_db": {"logits": 30.0}}}))
    np.save(folder / "labels.npy", np.zeros(8, np.int64))


def put_earlier(outs: tuple[str, ...]) -> None:
    """What an earlier run left in `out`, of other contents than any new one."""
    for name in outs:
        if name in _MARKERS:
            marker, text = _MARKERS[name]
            (Path("out") / name).mkdir()
            (Path("out") / name / marker).write_text(text)
        else:
            (Path("out") / name).write_text(f"PK\3\4 earlier {name}")  # `pack` replaces archives only


def snapshot(outs: tuple[str, ...]) -> dict[str, bytes]:
    """The bytes of all files of `outs` in `out`."""
    tops = [Path("out") / name for name in outs]
    files = [file for top in tops for file in ([top] if top.is_file() else top.rglob("*")) if file.is_file()]
    return {str(file): file.read_bytes() for file in files}


def left_aside() -> list[Path]:
    """What was being written when something went wrong."""
    return list(Path().rglob("*.part"))


def run(words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command in this process: its exit code, and what it said on standard error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    return int(ended.value.code or 0), capsys.readouterr().err


def check_refused(code: int, said: str, before: dict[str, bytes], outs: tuple[str, ...]) -> None:
    """One line with a next step, exit code 1, and all that was there before as it was."""
    assert (code, bool(_LINE.fullmatch(said))) == (1, True), (code, said)
    assert snapshot(outs) == before
    assert left_aside() == []


def check_done(code: int, command: Command, before: dict[str, bytes]) -> None:
    """The command went through: nothing of `before` is left in its outputs."""
    assert code == command.code
    after = snapshot(command.outs)
    assert set(before) <= set(after)
    assert [name for name, data in before.items() if after[name] == data] == []
    assert left_aside() == []
