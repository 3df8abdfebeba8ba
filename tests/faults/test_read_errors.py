"""A disk that gives half of an input, and then an error: nothing is made of the half."""

from __future__ import annotations

import builtins
import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

from tests.faults.commands import COMMANDS, DATA, ONNX, check_refused, put_earlier, run, snapshot

OUT_JSON = ("v.json",)
VALIDATE = f"validate {ONNX} --reference {ONNX} --data {DATA} --out out/v.json"
# What reads which input: through Python's files. onnxruntime, safetensors and FFmpeg read by themselves.
CASES = {
    "quantize": (COMMANDS["quantize"].words, COMMANDS["quantize"].outs, ONNX),
    "quantize data": (COMMANDS["quantize int8"].words, COMMANDS["quantize int8"].outs, DATA),
    "build-engine": (COMMANDS["build-engine cpu"].words, COMMANDS["build-engine cpu"].outs, ONNX),
    "build-engine package": (COMMANDS["build-engine package"].words, COMMANDS["build-engine package"].outs, ONNX),
    "validate": (COMMANDS["validate"].words, COMMANDS["validate"].outs, ONNX),
    "validate data": (VALIDATE, OUT_JSON, DATA),
    "validate labels": (f"{VALIDATE} --labels in/labels.npy", OUT_JSON, "in/labels.npy"),
    "validate bundle": (VALIDATE.replace(ONNX, "in/bundle", 1), OUT_JSON, "in/bundle/model.onnx"),
    "bench": (COMMANDS["bench"].words, COMMANDS["bench"].outs, ONNX),
    "deploy recipe": (COMMANDS["deploy"].words, COMMANDS["deploy"].outs, "in/recipe.toml"),
    "check": (COMMANDS["check"].words, COMMANDS["check"].outs, ONNX),
    "inspect": (COMMANDS["inspect"].words, COMMANDS["inspect"].outs, ONNX),
    "inspect report": ("inspect in/report.json", (), "in/report.json"),
    "compare": ("compare in/report.json in/report.json", (), "in/report.json"),
    "bundle verify": ("bundle verify in/bundle", (), "in/bundle/manifest.json"),
    "bundle pack": (COMMANDS["bundle pack"].words, COMMANDS["bundle pack"].outs, "in/bundle/model.onnx"),
    "bundle unpack": (COMMANDS["bundle unpack"].words, COMMANDS["bundle unpack"].outs, "in/b.ekb"),
    "run": (f"run in/bundle --source {DATA}", (), "in/bundle/model.onnx"),
}


class HalfReadable(io.FileIO):
    """A file whose second half cannot be read."""

    def _to(self, end: int) -> None:
        if end > os.fstat(self.fileno()).st_size // 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def readinto(self, buffer: Any) -> int | None:
        self._to(self.tell() + len(memoryview(buffer)))
        return super().readinto(buffer)

    def readall(self) -> bytes:
        self._to(os.fstat(self.fileno()).st_size)
        return super().readall()

    def read(self, size: int | None = -1) -> bytes | None:
        self._to(os.fstat(self.fileno()).st_size if size is None or size < 0 else self.tell() + size)
        return super().read(size)


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch):
    """`breaking(file)` from now on; it returns in which modes the file was opened so far."""

    def begin(broken: Path) -> list[str]:
        opened: list[str] = []
        plain = io.open

        def opens(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
            same = isinstance(file, (str, Path)) and os.path.realpath(file) == os.path.realpath(broken)
            if not same or set(mode) & set("wax+"):
                return plain(file, mode, buffering, *rest, **named)
            opened.append(mode)
            raw = HalfReadable(file)
            if buffering == 0:
                return raw
            # A small buffer: half of a file of a kB is to be read, too.
            buffered = io.BufferedReader(raw, 16)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest[:1], **named)

        monkeypatch.setattr(io, "open", opens)
        monkeypatch.setattr(builtins, "open", opens)
        return opened

    return begin


@pytest.mark.parametrize(("words", "outs", "broken"), CASES.values(), ids=CASES.keys())
def test_half_of_an_input(here, capsys, breaking, words, outs, broken):
    put_earlier(outs)
    before = snapshot(outs)
    opened = breaking(Path(broken))
    code, said = run(words, capsys)
    assert opened, "nothing read it"
    check_refused(code, said, before, outs)
    # zipfile takes an archive whose end it cannot read for no archive at all.
    assert ("File is not a zip file" if broken == DATA else "Input/output error") in said
