"""A bundle with an engine that was built after it: of its very model, with its report, or not at all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekit.bundle import Trust, read_manifest, sign, trust_in, verify
from edgekit.bundle.add_engine import add_engine
from edgekit.bundle.pack import Contents, pack
from edgekit.cli import main
from edgekit.errors import EdgekitError, IntegrityError, OutputError
from edgekit.files import sha256_of
from tests.bundle import hostile


@pytest.fixture
def bundle(small_bundle, tmp_path) -> Path:
    return shutil.copytree(small_bundle, tmp_path / "bundle")


@pytest.fixture
def built(bundle, tmp_path):
    """`built(shapes=[…])`: an engine's header with what `build-engine` would say of it."""

    def make(name: str = "model.engine", **other: Any) -> Path:
        return hostile.built_of(bundle / "model.onnx", tmp_path / name, **other)

    return make


def test_it_is_in_the_new_bundle_and_the_old_one_stays(bundle, built, tmp_path):
    before = (bundle / "manifest.json").read_bytes()
    add_engine(bundle, built(), tmp_path / "new")
    made, old = verify(tmp_path / "new").manifest, read_manifest(bundle)
    (entry,) = made.engines
    assert (entry.file, entry.version, entry.compute_capabilities) == ("model.engine", "1.7.1.116", ("8.6", "8.9"))
    assert (entry.os, entry.architecture, entry.minimum_cuda) == ("linux", "x86_64", "13.0")
    assert made.files.keys() - old.files.keys() == {"model.engine", "reports/model.engine.json"}
    assert made.reports == (*old.reports, "reports/model.engine.json")
    assert made.verdict == f"{old.verdict}; engine rtx sm86,sm89: added, not judged"
    assert (made.budget, made.model, made.quantization) == (old.budget, old.model, old.quantization)
    assert (bundle / "manifest.json").read_bytes() == before


def test_one_of_the_same_name_is_replaced_and_another_joins(bundle, built, tmp_path):
    add_engine(bundle, built(), tmp_path / "one")
    add_engine(tmp_path / "one", built(compute_capabilities=["12.0"]), tmp_path / "again")
    assert [item.compute_capabilities for item in verify(tmp_path / "again").manifest.engines] == [("12.0",)]
    add_engine(tmp_path / "one", built("other.engine"), tmp_path / "two")
    made = verify(tmp_path / "two").manifest
    assert [item.file for item in made.engines] == ["model.engine", "other.engine"]
    assert made.verdict.count("added, not judged") == 1


def pack_again(bundle: Path, out: Path, verdict: str) -> None:
    manifest = read_manifest(bundle)
    pack(out, replace(manifest, verdict=verdict), Contents({name: bundle / name for name in manifest.files}))


def test_its_plugins_come_along_by_digest(bundle, built, tmp_path):
    library = tmp_path / "libkernels.so"
    library.write_bytes(b"the kernels")
    said = {"plugins": str(library), "plugins_sha256": sha256_of(library), "plugin_creators": ["EdgekitLSTM 1 edgekit"]}
    add_engine(bundle, built(**said), tmp_path / "new")
    (entry,) = verify(tmp_path / "new").manifest.engines
    assert (tmp_path / "new" / entry.plugins).read_bytes() == b"the kernels"
    assert entry.plugins.endswith("/libkernels.so")
    assert entry.plugin_creators == ("EdgekitLSTM 1 edgekit",)
    library.write_bytes(b"others")
    with pytest.raises(EdgekitError, match=r"expected the plugins of the engine in .*, found none or others"):
        add_engine(bundle, built(**said), tmp_path / "other")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (
            {"source_sha256": "0" * 64},
            r"expected an engine of model\.onnx of the bundle .*, found one of another",
        ),
        ({"source_sha256": ...}, r"expected a report of this edgekit, found another: .* a key 'source_sha256'"),
        ({"sha256": "0" * 64}, r"expected the engine that .* tells of"),
        ({"stage": "quantize"}, r"expected the report of an engine of TensorRT"),
        ({"flavour": "ort"}, r"expected the report of an engine of TensorRT"),
        ({"flavour": 3}, r"expected a report of this edgekit, found another: .*flavour: expected str, found 3"),
        ({"compute_capabilities": "8.6"}, r"expected a report of this edgekit"),
        ({"plugin_creators": ...}, r"expected a report of this edgekit"),
        ({"plugins": 3}, r"expected a report of this edgekit"),
        ({"target": ...}, r"expected a report of this edgekit"),
        ({"version": "1.6.0.1"}, r"expected an engine of tensorrt_rtx 1\.6\.0\.1 in model\.engine, found 1\.7\.1\.116"),
        ({"shapes": ["image:1x3x9x9"]}, r"expected model\.engine to take image:1x3x8x8, found image:1x3x9x9"),
        ({"shapes": ["image:4x3x8x8:4x3x8x8:8x3x8x8"]}, r"expected model\.engine to take image:1x3x8x8"),
        ({"shapes": []}, r"found none; next: edgekit build-engine"),
        ({"shapes": ["image"]}, r"expected a shape as name"),
    ],
)
def test_what_does_not_belong_to_it_is_refused(bundle, built, tmp_path, said, error):
    with pytest.raises(EdgekitError, match=error):
        add_engine(bundle, built(**said), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_files_that_are_not_there_or_in_the_way(bundle, built, tmp_path):
    engine = built()
    Path(f"{engine}.json").unlink()
    with pytest.raises(EdgekitError, match="expected an engine with its report"):
        add_engine(bundle, engine, tmp_path / "new")
    Path(f"{engine}.json").write_text("{")
    with pytest.raises(EdgekitError, match="expected an engine with its report"):
        add_engine(bundle, engine, tmp_path / "new")
    with pytest.raises(EdgekitError, match=r"expected a new name for an engine, found model\.onnx in the bundle"):
        add_engine(bundle, built("model.onnx"), tmp_path / "new")
    with pytest.raises(EdgekitError, match=r"a new name for an engine, found reports/accuracy\.json in the bundle"):
        add_engine(bundle, built("accuracy"), tmp_path / "new")
    with pytest.raises(OutputError, match="found the same"):
        add_engine(bundle, built(), bundle)
    with pytest.raises(OutputError, match="expected OUT outside of"):
        add_engine(bundle, built(), bundle / "new")
    assert verify(bundle).manifest.engines == ()


def test_the_bundle_is_verified_and_trusted_first(bundle, built, tmp_path, keys):
    sign(bundle, keys / "maker")
    engine = built()
    with pytest.raises(IntegrityError, match="expected a signature"):
        add_engine(bundle, engine, tmp_path / "new", trust_in(keys / "other.pub"))
    add_engine(bundle, engine, tmp_path / "new", trust_in(keys / "maker.pub"))
    assert verify(tmp_path / "new").signers == (), "whoever built the engine has to vouch for it"
    (bundle / "model.onnx").write_bytes(b"another")
    with pytest.raises(IntegrityError):
        add_engine(bundle, engine, tmp_path / "other", Trust())


def test_a_file_that_changes_under_its_hands_is_refused(bundle, tmp_path):
    manifest = read_manifest(bundle)
    contents = Contents({name: bundle / name for name in manifest.files})
    known = manifest.files | {"model.onnx": replace(manifest.files["model.onnx"], sha256="0" * 64)}
    with pytest.raises(IntegrityError, match=r"expected model\.onnx as it was a moment ago"):
        pack(tmp_path / "new", manifest, contents, known)
    assert not (tmp_path / "new").exists()


def test_a_real_engine_by_the_command(bundle, tmp_path, capsys, monkeypatch):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX builds the engine")
    monkeypatch.chdir(tmp_path)

    def ended(*arguments: str) -> object:
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        return end.value.code

    build = ("build-engine", "bundle/model.onnx", "m.engine", "--target", "rtx", "--compute-capability", "8.6")
    assert ended(*build) == 0
    assert ended("bundle", "add-engine", "bundle", "m.engine", "new") == 0
    out = capsys.readouterr().out
    assert "new: m.engine, tensorrt_rtx 1.7" in out
    assert "not signed: edgekit bundle sign new --key KEY" in out
    assert ended("bundle", "verify", "new") == 0
    assert ended("bundle", "add-engine", "new", "m.engine", "newer", "--require-signature") == 7


@pytest.mark.parametrize(
    ("said", "then"),
    [
        ("PASS (ort, cpu)", "PASS (ort, cpu)"),
        ("PASS (ort, cpu); engine rtx sm86,sm89: built, not run (no GPU here)", "PASS (ort, cpu)"),
        ("PASS (ort, cpu); engine desktop sm86,sm89: not run", "PASS (ort, cpu); engine desktop sm86,sm89: not run"),
        ("PASS (ort, cpu); engine rtx: not built here", "PASS (ort, cpu)"),
        ("PASS (ort, cpu); engine jetpack6: not built here", "PASS (ort, cpu); engine jetpack6: not built here"),
        ("PASS (ort, cpu); engine of another kind: x", "PASS (ort, cpu); engine of another kind: x"),
    ],
)
def test_the_verdict_says_nothing_of_an_engine_that_is_gone(bundle, built, tmp_path, said, then):
    add_engine(bundle, built(), tmp_path / "one")
    pack_again(tmp_path / "one", tmp_path / "said", said)
    add_engine(tmp_path / "said", built(compute_capabilities=["12.0"]), tmp_path / "new")
    assert verify(tmp_path / "new").manifest.verdict == f"{then}; engine rtx sm120: added, not judged"


def test_the_library_of_an_engine_that_is_gone_goes_with_it(bundle, built, tmp_path):
    library = tmp_path / "libkernels.so"

    def engine(name: str, content: bytes) -> Path:
        library.write_bytes(content)
        return built(name, plugins=str(library), plugins_sha256=sha256_of(library), plugin_creators=["L 1 edgekit"])

    add_engine(bundle, engine("a.engine", b"shared"), tmp_path / "one")
    add_engine(tmp_path / "one", engine("b.engine", b"shared"), tmp_path / "two")
    add_engine(tmp_path / "two", engine("a.engine", b"other"), tmp_path / "three")
    made = verify(tmp_path / "three").manifest
    assert len({name for name in made.files if name.startswith("plugins/")}) == 2, "b.engine needs the first still"
    add_engine(tmp_path / "three", engine("b.engine", b"other"), tmp_path / "four")
    (left,) = (name for name in verify(tmp_path / "four").manifest.files if name.startswith("plugins/"))
    assert (tmp_path / "four" / left).read_bytes() == b"other"
