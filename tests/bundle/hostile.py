"""One good signed bundle, and what someone may do to it: the kinds of the hostile corpus.

A kind is a function that damages a copy of the good bundle in place. Where the digests would find it first, the
manifest is made right again and the signature dropped: what is left to find it is what the kind is about.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgekit.bundle import (
    Contents,
    EngineEntry,
    FileEntry,
    Manifest,
    ModelEntry,
    QuantizationEntry,
    pack,
    read_manifest,
    sign,
)
from edgekit.files import sha256_of
from edgekit.specs import TensorSpec

Kind = Callable[[Path], object]
PREPROCESS = {"kind": "image", "input": "image", "resize": 8, "crop": 8, "mean": [0.0] * 3, "std": [1.0] * 3}
POSTPROCESS = {"kind": "classify", "output": "logits", "labels": list("abcde")}


def engine_bytes(**other: object) -> bytes:
    """Bytes with the header of an engine of TensorRT-RTX 1.7.1.116 (see edgekit/bundle/engine_header.py), and nothing
    that would run."""
    told = {"magic": b"vtrt", "version": (1, 7, 1, 116), "size": 132, "offset": 112, "end": b"ftrt", **other}
    head = struct.pack("<4sIQQ4B4sQ", told["magic"], 0, 2, told["size"], *told["version"], b"vtrt", 4)  # type: ignore
    sections = struct.pack("<8sQQ8sQQ", b"NGNE", 112, 8, b"THGW", told["offset"], 8)
    return head.ljust(64, b"\0") + sections + bytes(16) + bytes(byte ^ 0xFF for byte in told["end"])  # type: ignore


def built_of(model: Path, engine: Path, **other: object) -> Path:
    """Such bytes as a file, with what `build-engine` would say of them; `other` changes that, and ... leaves it out."""
    engine.write_bytes(engine_bytes())
    said = {
        "stage": "build",
        "sha256": sha256_of(engine),
        "source_sha256": sha256_of(model),
        "target": "rtx",
        "flavour": "tensorrt_rtx",
        "version": "1.7.1.116",
        "compute_capabilities": ["8.6", "8.9"],
        "shapes": ["image:1x3x8x8:4x3x8x8:8x3x8x8"],
        "plugins": None,
        "plugins_sha256": "",
        "plugin_creators": [],
        "os": "linux",
        "architecture": "x86_64",
        "minimum_cuda": "13.0",
    }
    table = {key: value for key, value in {**said, **other}.items() if value is not ...}
    engine.with_name(f"{engine.name}.json").write_text(json.dumps(table))
    return engine


def make_good(folder: Path, model: Path, key: Path) -> Path:
    """The good bundle: a model, an engine's header, two specs, a report, a signature."""
    manifest = Manifest(
        edgekit="test",
        verdict="",
        model=ModelEntry("model.onnx", "", "", "fp32", "disable_all"),
        preprocess="preprocess.json",
        postprocess="postprocess.json",
        stream="",
        assets=("vocabulary.txt",),
        inputs=(TensorSpec("image", "float32", ("batch", 3, 8, 8)),),
        outputs=(TensorSpec("logits", "float32", ("batch", 5)),),
        ranges={"batch": (1, 1, 8)},
        engines=(EngineEntry("model.engine", "tensorrt_rtx", "1.7.1.116", ("8.6",)),),
        files={},
        budget="sqnr_db>=30.0,p99_ms<=20.0",
        fps=30.0,
        reports=("reports/accuracy.json",),
        tools={"onnx": "1.19.1", "python": "3.11.7"},
    )
    made = {
        "model.engine": engine_bytes(),
        "preprocess.json": json.dumps(PREPROCESS).encode(),
        "postprocess.json": json.dumps(POSTPROCESS).encode(),
        "vocabulary.txt": b"a b c",
        "reports/accuracy.json": b'{"stage": "validate"}\n',
    }
    pack(folder / "good", manifest, Contents({"model.onnx": model}, made))
    sign(folder / "good", key)
    return folder / "good"


def reseal(bundle: Path, **changes: object) -> None:
    """A manifest that is right about the files as they are, with these changes; unsigned."""
    (bundle / "signatures.json").unlink()
    manifest = read_manifest(bundle)
    files = {name: FileEntry((bundle / name).stat().st_size, sha256_of(bundle / name)) for name in manifest.files}
    (bundle / "manifest.json").write_bytes(replace(manifest, **{"files": files, **changes}).dump())


def holding(name: str, data: bytes | str) -> Kind:
    """Another file of this name, and a manifest that is right about it."""

    def damage(bundle: Path) -> None:
        (bundle / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        reseal(bundle)

    return damage


def saying(**changes: object) -> Kind:
    """A manifest that says something else, and has the right digest of itself."""
    return lambda bundle: reseal(bundle, **changes)


def named(*names: str) -> Kind:
    """More files in the manifest, of these names; that they are not there is found later than what they are called."""

    def damage(bundle: Path) -> None:
        files = read_manifest(bundle).files
        reseal(bundle, files={**files, **dict.fromkeys(names, FileEntry(1, "0" * 64))})

    return damage


def written(name: str, data: bytes | str) -> Kind:
    """Another file of this name, which the manifest knows nothing of."""
    return lambda bundle: (bundle / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def edited(name: str, before: str, after: str) -> Kind:
    """A text in a file replaced by another, which the manifest knows nothing of."""

    def damage(bundle: Path) -> None:
        text = (bundle / name).read_text()
        assert before in text
        (bundle / name).write_text(text.replace(before, after, 1))

    return damage


def spec(before: str, after: str) -> Kind:
    """preprocess.json with another text in it, and the right digest."""
    text = json.dumps(PREPROCESS)
    assert before in text
    return holding("preprocess.json", text.replace(before, after, 1))


def _linked(bundle: Path, name: str) -> None:
    (bundle / name).rename(bundle.parent / "elsewhere")
    (bundle / name).symlink_to(bundle.parent / "elsewhere")


def _engine(flavour: str = "tensorrt_rtx", version: str = "1.7.1.116", **other: object) -> dict[str, object]:
    return {"engines": (EngineEntry(**{"file": "model.engine", "flavour": flavour, "version": version,
                                       "compute_capabilities": ("8.6",), **other}),)}  # fmt: skip


def sized(name: str, size: int) -> Kind:
    """A file that is said to be as large, and is: the disk holds nothing of it."""

    def change(bundle: Path) -> None:
        files = read_manifest(bundle).files
        reseal(bundle, files=files | {name: replace(files[name], size=size)})
        os.truncate(bundle / name, size)

    return change


IN_THE_FOLDER: dict[str, Kind] = {
    "an empty folder": lambda bundle: (bundle / "more").mkdir(),
    "a model larger than any protobuf": sized("model.onnx", (1 << 31) + 1),
    "a spec larger than its reader takes": sized("preprocess.json", (1 << 24) + 1),
    "a vocabulary larger than any memory": sized("vocabulary.txt", 1 << 43),
    "a byte of the model flipped": lambda bundle: written("model.onnx", b"\xff" + _rest(bundle, "model.onnx"))(bundle),
    "a byte of a report flipped": edited("reports/accuracy.json", "v", "w"),
    "a byte more in the engine": written("model.engine", engine_bytes() + b"\0"),
    "a byte less in the engine": written("model.engine", engine_bytes()[:-1]),
    "a file missing": lambda bundle: (bundle / "vocabulary.txt").unlink(),
    "a file too many": written("extra.txt", "x"),
    "a file too many, deeper": written("reports/extra.txt", "x"),
    "a link in the place of a file": lambda bundle: _linked(bundle, "model.onnx"),
    "a link in the place of a folder": lambda bundle: _linked(bundle, "reports"),
    "a pipe": lambda bundle: os.mkfifo(bundle / "pipe"),
    "no manifest": lambda bundle: (bundle / "manifest.json").unlink(),
}
IN_THE_MANIFEST: dict[str, Kind] = {
    "empty": written("manifest.json", ""),
    "another verdict": edited("manifest.json", '"verdict": ""', '"verdict": "PASS"'),
    "no JSON": written("manifest.json", "{"),
    "a list": written("manifest.json", "[]"),
    "another schema": edited("manifest.json", '"schema": 3', '"schema": 4'),
    "a key twice": edited("manifest.json", '"schema": 3', '"schema": 3,\n "schema": 3'),
    "an unknown key": edited("manifest.json", '"schema"', '"more": 1,\n "schema"'),
    "NaN": edited("manifest.json", '"schema": 3', '"schema": NaN'),
    "a number of 5000 digits": edited("manifest.json", '"schema": 3', '"schema": ' + "2" * 5000),
    "half of a character": edited("manifest.json", '"verdict": ""', '"verdict": "\\ud800"'),
    "a byte order mark": edited("manifest.json", "{", "\ufeff{"),
    "UTF-16": lambda bundle: written("manifest.json", (bundle / "manifest.json").read_text().encode("utf-16"))(bundle),
    "no UTF-8": written("manifest.json", b'{"verdict": "\xe9"}'),
    "nested 100,000 deep": written("manifest.json", "[" * 100_000),
    "larger than 1 MiB": lambda bundle: written("manifest.json", " " * (1 << 20) + _text(bundle))(bundle),
    "other blanks": edited("manifest.json", "\n ", "\n  "),
    "a negative size": saying(files={"model.onnx": FileEntry(-1, "0" * 64)}),
    "a size that no archive has": saying(files={"model.onnx": FileEntry(1 << 40, "0" * 64)}),
    "a digest that is none": saying(files={"model.onnx": FileEntry(1, "0" * 63)}),
    "a model of no name": saying(model=ModelEntry("", "", "", "fp32", "all")),
    "an engine of no name": saying(**_engine(file="")),
    "an asset of no name": saying(assets=("",)),
    "engines without end": saying(engines=_engine()["engines"] * 64),  # type: ignore[operator]
    "promises without end": saying(budget=",".join(["p99_ms<=20"] * 65)),
    "a model that is not there": saying(model=ModelEntry("other.onnx", "", "", "fp32", "all")),
    "an optimisation that is none": saying(model=ModelEntry("model.onnx", "", "", "fp32", "most")),
    "plugins that are not there": saying(**_engine(plugins="plugins.so")),
    "plugins of no library": saying(**_engine(plugin_creators=("EdgekitLSTM 1 edgekit",))),
    "a CUDA that is no version": saying(**_engine(minimum_cuda="new")),
    "a report that is not there": saying(reports=("reports/latency.json",)),
    "a source without a digest": saying(model=ModelEntry("model.onnx", "", "", "fp32", "all", "cnn", "0" * 63)),
    "scales without a digest": saying(quantization=QuantizationEntry("max", "A" * 64)),
    "data without a digest": saying(quantization=QuantizationEntry("max", "", "../data")),
    "fewer than no samples": saying(quantization=QuantizationEntry("max", "", "", -1)),
    "a budget of no promises": saying(budget="fast"),
    "a budget of another language": saying(budget="p99_ms<=20;rm"),
    "a negative rate": saying(fps=-1.0),
    "a rate without a point": edited("manifest.json", '"fps": 30.0', '"fps": 30'),
    "a rate that is a truth": edited("manifest.json", '"fps": 30.0', '"fps": true'),
    "a version that is a number": edited("manifest.json", '"onnx": "1.19.1"', '"onnx": 1.19'),
    "a key that was added since": edited("manifest.json", ' "tools"', ' "tool": {},\n "tools"'),
    "a tensor of objects": saying(inputs=(TensorSpec("image", "object", ("batch", 3)),)),
    "a tensor of no known type": saying(inputs=(TensorSpec("image", "float33", ("batch", 3)),)),
    "a negative axis": saying(inputs=(TensorSpec("image", "float32", (-1, 3)),)),
    "a tensor larger than any memory": saying(inputs=(TensorSpec("image", "float32", (1 << 20, 1 << 20)),)),
    "open axes larger than any memory": saying(
        inputs=(TensorSpec("image", "float32", ("batch", "batch")),), ranges={"batch": (1, 1 << 20, 1 << 20)}
    ),
    "one tensor twice": saying(outputs=(TensorSpec("y", "int8", ()), TensorSpec("y", "int64", ()))),
    "a range upside down": saying(ranges={"batch": (8, 1, 1)}),
    "a range without end": saying(ranges={"batch": (1, 1, 1 << 40)}),
}  # fmt: skip
OF_NAMES: dict[str, Kind] = {
    **{
        f"named {name!r}": named(name)
        for name in ("../up", "/etc/passwd", "a/../b", "a//b", "./a", "a/", "", ".", "C:a", "a\\b", "a\0", "a\n", "a b")
    },
    **{
        f"named {name!r}": named(name)
        for name in (
            ".hidden",
            "-rf",
            "dot.",
            "CON",
            "nul.txt",
            "x/com1",
            "LPT9.onnx",
            "é",
            "e\u0301",
            "\uff0e\uff0e/a",
        )
    },
    "two names of one case": named("Model.onnx"),
    "two folders of one case": named("Reports/more"),
    "a file that is a folder": named("reports"),
    "a folder that is a file": named("model.onnx/more"),
    "the manifest in another case": named("Manifest.JSON"),
    "the signatures as a file": named("signatures.json"),
    "a name of 300 letters": named("a" * 300),
    "a name of 50 folders": named("/".join("a" * 50)),
    "two thousand names": named(*map(str, range(2000))),
}
IN_THE_SIGNATURES: dict[str, Kind] = {
    "of another manifest": lambda bundle: edited("signatures.json", '"signature": "', '"signature": "0')(bundle),
    "none in the list": written("signatures.json", '{\n "schema": 1,\n "signatures": []\n}\n'),
    "empty": written("signatures.json", ""),
    "in another form": edited("signatures.json", "\n ", "\n  "),
    "nested": written("signatures.json", "[" * 10_000),
    "large": lambda bundle: written("signatures.json", " " * (1 << 15))(bundle),
    "a folder": lambda bundle: ((bundle / "signatures.json").unlink(), (bundle / "signatures.json").mkdir()),
}  # fmt: skip
IN_AN_ENGINE: dict[str, Kind] = {
    "empty": holding("model.engine", ""),
    "text": holding("model.engine", "#!/bin/sh\nexit 1\n"),
    "a pickle": holding("model.engine", b"\x80\x04cposix\nsystem\n."),
    "a library": holding("model.engine", b"\x7fELF" + bytes(200)),
    "cut in its header": holding("model.engine", engine_bytes()[:30]),
    "cut": holding("model.engine", engine_bytes()[:-20]),
    "grown": holding("model.engine", engine_bytes() + b"code"),
    "of another flavour": holding("model.engine", engine_bytes(magic=b"ftrt")),
    "of another version": holding("model.engine", engine_bytes(version=(1, 7, 2, 116))),
    "of an older minor version": holding("model.engine", engine_bytes(version=(1, 6, 1, 116))),
    "said to be of another flavour": saying(**_engine(flavour="tensorrt")),
    "said to be of a flavour that is none": saying(**_engine(flavour="lua")),
    "said to be of another version": saying(**_engine(version="1.8.0")),
    "with another end": holding("model.engine", engine_bytes(end=b"xxxx")),
    "with a section outside": holding("model.engine", engine_bytes(offset=130)),
    "with a section far outside": holding("model.engine", engine_bytes(offset=1 << 62)),
    "the model": saying(**_engine(file="model.onnx")),
}
IN_A_SPEC: dict[str, Kind] = {
    "no JSON": holding("preprocess.json", "import os"),
    "empty": holding("preprocess.json", ""),
    "a list": holding("preprocess.json", "[]"),
    "an unknown key": spec('"kind"', '"run": "rm", "kind"'),
    "a key missing": spec('"crop": 8, ', ""),
    "a key twice": spec('"crop": 8', '"crop": 8, "crop": 8'),
    "an unknown kind": spec('"image", "input"', '"python", "input"'),
    "a kind that is a list": spec('"kind": "image"', '"kind": ["image"]'),
    "a text for a number": spec('"crop": 8', '"crop": "8"'),
    "NaN": spec("[0.0", "[NaN"),
    "Infinity": spec("[0.0", "[-Infinity"),
    "a number that is infinite": spec("[0.0", "[1e999"),
    "an integer that is no float": spec("[0.0", "[" + "9" * 400),
    "a number of 5000 digits": spec('"crop": 8', '"crop": ' + "8" * 5000),
    "nested 100,000 deep": spec("[0.0", "[" * 100_000),
    "half of a character": spec('"image", "resize"', '"\\udc00", "resize"'),
    "a byte order mark": holding("preprocess.json", "\ufeff" + json.dumps(PREPROCESS)),
    "UTF-16": holding("preprocess.json", json.dumps(PREPROCESS).encode("utf-16")),
    "a standard deviation of zero": spec("[1.0", "[0.0"),
    "an answer of no kind": holding("postprocess.json", "{}"),
    "the vocabulary as a stream": saying(stream="vocabulary.txt"),
    "the model as a spec": saying(preprocess="model.onnx"),
    "a stream of states that are not there": lambda bundle: _stream(bundle),
    "a stream of a model without inputs": lambda bundle: _stream(bundle, inputs=()),
}


def _stream(bundle: Path, **changes: object) -> None:
    (bundle / "vocabulary.txt").write_text('{"states": ["h=h_out"]}')
    reseal(bundle, stream="vocabulary.txt", **changes)


def _rest(bundle: Path, name: str) -> bytes:
    return (bundle / name).read_bytes()[1:]


def _text(bundle: Path) -> str:
    return (bundle / "manifest.json").read_text()
