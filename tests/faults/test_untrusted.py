"""Files that anyone may have made: none of them runs code, fills the memory or the stack, or ends in a traceback."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.faults.commands import DATA, ONNX, check_refused, run

PICTURES = """
[preprocess]
kind = "image"
input = "image"
resize = 8
crop = 8
mean = [127.0, 127.0, 127.0]
std = [64.0, 64.0, 64.0]
"""
DEEP = 100_000


class Runs:
    """Unpickled, it makes a file: the proof that code ran."""

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.open, ("code-ran", os.O_CREAT)


def png(width: int, height: int) -> bytes:
    """A header that claims so many pixels, one bit each, and no pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def npy(shape: tuple[int, ...], columns_first: bool = False) -> bytes:
    """The header of an array of float32, without its numbers."""
    file = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": columns_first, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def npz(**entries: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def stored(save: Callable[[io.BytesIO], None]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


VALIDATE = f"validate {ONNX} --reference {ONNX} --out out/v.json"
DATA_NPZ = f"{VALIDATE} --data hostile.npz"
LABELS_NPY, LABELS_NPZ = (f"{VALIDATE} --data {DATA} --labels hostile.{ending}" for ending in ("npy", "npz"))
PICTURE = f"{VALIDATE} --data hostile.png --recipe pictures.toml"
RECIPE = f"{VALIDATE} --data {DATA} --recipe hostile.toml"
REPORT, COMPARED = "inspect hostile.json", "compare hostile.json hostile.json"
SCALES = f"quantize {ONNX} out/m.onnx --precision int8 --scales hostile.json"
PT, SAFETENSORS = (f"export in/net.py:make out/m.onnx --weights hostile.{ending}" for ending in ("pt", "safetensors"))

PICKLE = pickle.dumps(Runs())
OBJECTS = stored(lambda file: np.save(file, np.array([Runs()], object), allow_pickle=True))
BOMB = npz(labels=npy((1 << 19,)) + bytes(4 << 19))  # two MiB in a few kB
HUGE_SAMPLE, HUGE_COLUMNS = npz(image=npy((1, 3, 1 << 20, 1 << 18))), npz(image=npy((1 << 31, 3, 8, 8), True))
TOML_DEEP, TOML_TABLES = b"a = " + b"[" * DEEP, b"a = " + b"[" * 100 + b"]" * 100
JSON_DEEP, JSON_TABLES = b"[" * DEEP, b'{"stage":' * 400 + b"1" + b"}" * 400

CASES = {
    "weights as a pickle": (PT, PICKLE, "expected weights"),
    "weights that claim a size": (SAFETENSORS, struct.pack("<Q", 1 << 60) + b"{}", "expected weights"),
    "objects in an npz": (DATA_NPZ, npz(image=OBJECTS), "Python objects"),
    "objects as labels": (LABELS_NPY, OBJECTS, "Object arrays cannot be loaded"),
    "a pickle as labels": (LABELS_NPY, PICKLE, "expected one plain array"),
    "a sample of 3 TiB": (DATA_NPZ, HUGE_SAMPLE, "a sample of 3,298,534,883,328 bytes"),
    "columns first": (DATA_NPZ, HUGE_COLUMNS, "an array with its columns first of"),
    "labels of 4 TiB": (LABELS_NPY, npy((1 << 40,)), "expected one plain array"),
    "labels that unpack": (LABELS_NPZ, BOMB, "an archive of 2,097,280 bytes"),
    "a picture of 100 million pixels": (PICTURE, png(10_000, 10_000), "decompression bomb"),
    "a picture of 400 million pixels": (PICTURE, png(20_000, 20_000), "decompression bomb"),
    "a recipe that never ends": (RECIPE, TOML_DEEP, "expected TOML in hostile.toml"),
    "a recipe of many lists": (RECIPE, TOML_TABLES, "more than 64 deep"),
    "a report that never ends": (REPORT, b'{"a":' * DEEP, "more than 64 deep"),
    "a report of many tables": (REPORT, JSON_TABLES, "more than 64 deep"),
    "a report with half of a character": (REPORT, b'{"stage": "\\ud800"}', "surrogates not allowed"),
    "a report to compare": (COMPARED, JSON_DEEP, "expected a report as JSON"),
    "scales": (SCALES, JSON_DEEP, "expected a scale table"),
}


def hostile_file(words: str) -> Path:
    """The one that a command is given."""
    return Path(next(word for word in words.split() if word.startswith("hostile.")))


@pytest.mark.parametrize(("words", "data", "says"), CASES.values(), ids=CASES.keys())
def test_one_line(here, capsys, monkeypatch, words, data, says):
    if words.startswith("export"):
        pytest.importorskip("torch")
    if data == BOMB:
        monkeypatch.setattr("edgekit.data.arrays.LARGEST_WHOLE", 1 << 20)
    Path("pictures.toml").write_text(PICTURES)
    hostile_file(words).write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as a user has it who saw too many of them: no refusal hangs on a warning
        code, said = run(words, capsys)
    check_refused(code, said, {}, ("v.json", "m.onnx"))
    assert says in said
    assert not Path("code-ran").exists()


@pytest.mark.parametrize(("words", "begins"), [(RECIPE, b""), (REPORT, b"{"), (COMPARED, b"{")])
def test_a_text_that_is_too_large_is_not_read(here, capsys, words, begins):
    """A TiB that takes no room on the disk."""
    hostile_file(words).write_bytes(begins)
    os.truncate(hostile_file(words), 1 << 40)
    code, said = run(words, capsys)
    check_refused(code, said, {}, ("v.json",))


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("labels", "5", "expected a list of texts"),
        ("labels", "[[1]]", "expected a list of texts"),
        ("labels", "[" * DEEP, "expected a list of texts"),
        ("ranges", "[1]", "expected a table in the model's metadata edgekit.ranges"),
        ("ranges", '{"batch":' * DEEP, "expected a table in the model's metadata edgekit.ranges"),
        ("ranges", '{"batch": [3, 2, 1]}', "batch"),
    ],
)
def test_what_a_model_says_of_itself(here, capsys, key, text, says):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(ONNX)
    onnx.helper.set_model_props(model, {f"edgekit.{key}": text})
    onnx.save(model, "hostile.onnx")
    code, said = run(f"deploy hostile.onnx out --target cpu --precision fp32 --data {DATA}", capsys)
    assert (code, said.count("\n"), "fault of edgekit" in said) == (1, 1, False), said
    assert says in said
    assert not Path("out/bundle").exists()


def test_a_name_in_a_model_is_text_whatever_it_looks_like(here, capsys):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(ONNX)
    onnx.helper.set_model_props(model, {"edgekit.architecture": '{"a": 1}', "edgekit.task": "[1]"})
    onnx.save(model, "hostile.onnx")
    assert run(f"deploy hostile.onnx out --target cpu --precision fp32 --data {DATA}", capsys) == (0, "")
    assert json.loads(Path("out/bundle/manifest.json").read_bytes())["model"]["architecture"] == '{"a": 1}'
