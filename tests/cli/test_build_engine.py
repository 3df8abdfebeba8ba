"""`edgekit build-engine` as a person or a script calls it: lines, JSON, codes, and the package in an engine's place."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("onnx")

from edgekit.build import build, flavour
from edgekit.build.layers import Memory
from edgekit.build.proof import AttentionCount, Compute
from edgekit.build.text import build_lines
from edgekit.cli import main
from edgekit.configs import BuildConfig

ABSENT = "expected TensorRT 10.3 to build for target jetpack6, found none on this machine"
WHERE = "Jetson Orin with JetPack 6.1 or later"


@pytest.fixture(autouse=True)
def here(small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the model, on a machine without TensorRT; TensorRT-RTX stays."""
    found = flavour._import
    monkeypatch.setattr(flavour, "_import", lambda name: None if name == "tensorrt" else found(name))
    shutil.copy(small_onnx, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_info:
        main(["build-engine", "small.onnx", *arguments])
    said = capsys.readouterr()
    return int(exit_info.value.code or 0), said.out, said.err


def test_a_package_where_there_is_no_tensorrt(capsys, here):
    code, out, err = called(capsys, "my $(touch pwned).engine", "--target", "jetpack6")
    command = "sh 'my $(touch pwned).engine.package/build.sh'"
    assert (code, err) == (6, f"edgekit: error: {ABSENT}; next: {command} on {WHERE}\n")
    first, second = out.splitlines()
    assert first.startswith("my $(touch pwned).engine.package: ")
    assert first.endswith(" MB")
    assert second == f"copy that folder to the device ({WHERE}) and run there: {command}"
    assert sorted(file.name for file in here.iterdir()) == ["my $(touch pwned).engine.package", "small.onnx"]
    done = subprocess.run(["sh", "-c", f"{command} --no-such-option"], capture_output=True, text=True)
    assert "edgekit: error: " in done.stderr  # the command is the package's own script, whichever way it ends
    assert not (here / "pwned").exists()


def test_the_package_as_json(capsys, here):
    code, out, err = called(capsys, "a.engine", "--target", "jetpack6", "--json", "--timing-cache", "c")
    report = json.loads(out)
    files = [file for file in (here / "a.engine.package").rglob("*") if file.is_file()]
    assert code == 6
    assert (report["stage"], report["path"], report["target"]) == ("package", "a.engine.package", "jetpack6")
    assert (report["files"], report["bytes"]) == (len(files), sum(file.stat().st_size for file in files))
    assert (report["reason"], report["command"]) == (ABSENT, "sh a.engine.package/build.sh")
    assert report["seconds"] > 0
    warning, error = err.splitlines()
    assert warning == f"edgekit: warning: {report['warnings'][0]}"
    assert error.startswith("edgekit: error: ")


def test_quiet_says_the_error_alone(capsys):
    code, out, err = called(capsys, "a.engine", "--target", "jetpack6", "-q", "--timing-cache", "c")
    assert (code, out, err.count("\n")) == (6, "", 1)


def test_a_version_that_is_another_packs_too(capsys, here, monkeypatch):
    class Other:
        __version__ = "10.13.3"

    monkeypatch.setattr(flavour, "_import", lambda name: Other)
    code, _, err = called(capsys, "a.engine", "--target", "jetpack6")
    assert code == 6
    assert "expected TensorRT 10.3 for target jetpack6, found 10.13.3" in err
    assert (here / "a.engine.package/build.sh").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--target", "jetpack6", "--shape", "pixels:1x3x8x8"], 1, "pixels"),
        (["--target", "jetpack6", "--require-precision", "fp16"], 2, "expected a precision and a share"),
        (["--target", "jetpack6", "--device", "agx-thor"], 6, "expected a device of target jetpack6"),
        (["--target", "jetpack6", "--compute-capability", "8.6"], 6, "--compute-capability"),
        (["--target", "jetpack6", "--compute-capability", "8.7"], 6, "expected no --compute-capability"),
        (["--target", "jetpack5"], 2, "jetpack5"),
    ],
)
def test_wrong_options_are_refused_before(capsys, here, arguments, code, says):
    found, out, err = called(capsys, "a.engine", *arguments)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert says in err
    assert ".package" not in err
    assert [file.name for file in here.iterdir()] == ["small.onnx"]


def test_a_file_that_is_no_model_is_refused_before(capsys, here):
    (here / "small.onnx").write_bytes(b"no model")
    code, out, err = called(capsys, "a.engine", "--target", "jetpack6")
    assert (code, out) == (1, "")
    assert "expected an ONNX model in small.onnx" in err
    assert [file.name for file in here.iterdir()] == ["small.onnx"]


def test_an_engine_with_its_account(capsys):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX builds the engine of this test")
    code, out, err = called(capsys, "a.engine", "--target", "rtx", "--compute-capability", "8.6")
    first, capabilities, work, memory, shapes = out.splitlines()
    assert (code, err) == (0, "")
    assert first.startswith("a.engine: tensorrt_rtx ")
    assert capabilities.startswith("for compute capability 8.6; ")
    assert work == "multiply-adds: 100.0 % in fp32"
    assert memory.startswith("memory: weights ")
    assert shapes.startswith("shapes image:1x3x8x8:")


def test_lines_of_what_is_known(small_onnx, tmp_path):
    report = build(small_onnx, tmp_path / "a.engine", BuildConfig("cpu"))
    assert not [line for line in build_lines(report) if line.startswith("memory")]
    made_up = replace(
        report,
        compute=Compute(10**6, {"fp16": 0.9706, "fp32": 0.0293, "int8": 0.0001}, ("a", "b")),
        attention=AttentionCount(4, 3),
        memory=Memory(weights_bytes=2_500_000, activation_bytes=4_000),
    )
    lines = list(build_lines(made_up))
    assert (
        "multiply-adds: 97.1 % in fp16, 2.9 % in fp32, under 0.1 % in int8; 2 nodes of unknown size not counted"
        in lines
    )
    assert "3 of 4 attention blocks are one fused kernel" in lines
    assert "memory: weights 2.5 MB, activations 4.0 kB" in lines
    assert "1 of 1 attention block is one fused kernel" in build_lines(replace(report, attention=AttentionCount(1, 1)))
    assert not [line for line in build_lines(replace(report, compute=Compute())) if "multiply" in line]
