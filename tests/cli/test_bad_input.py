"""Every bad input gives one line, the right code, no traceback, and nothing half-written."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from edgekit.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_onnx: Path, small_data: Path) -> Path:
    """An empty working folder with one good model, one that is text, and two that are broken."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(small_onnx, "good.onnx")
    shutil.copy(small_data, "x.npz")
    Path("text.onnx").write_text("this is not a model\n" * 20)
    Path("empty.onnx").write_bytes(b"")
    Path("cut.onnx").write_bytes(small_onnx.read_bytes()[:-200])
    Path("file").write_text("a file, not a folder")
    Path("recipe.toml").write_text('[quantize]\nprecison = "fp16"\n')
    Path("net.py").write_text(
        textwrap.dedent("""
            import torch

            def raises(): raise RuntimeError("no weights today")
            def number(): return 7
            def wrong_names(): return torch.nn.Linear(4, 2), {"inptu": torch.zeros(1, 4)}
        """)
    )
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> tuple[int, str]:
    """Run the command in this process; return its code and its one line."""
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("edgekit: error: ")
    # Output folders may have been made; no file may.
    assert [path for path in Path().rglob("*") if path.is_file() and path not in before] == []
    return int(exit_info.value.code or 0), lines[0]


QUANTIZE = ["quantize", "IN", "out.onnx", "--precision", "fp16"]
VALIDATE = ["validate", "good.onnx", "--reference", "good.onnx"]
BUILD = ["build-engine", "IN", "out.engine", "--target", "cpu"]


@pytest.mark.parametrize("stage", [QUANTIZE, BUILD], ids=["quantize", "build-engine"])
@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("missing.onnx", "found none"),
        ("text.onnx", "expected an ONNX model in text.onnx"),
        ("empty.onnx", "expected an ONNX model in empty.onnx"),
        ("cut.onnx", "expected an ONNX model in cut.onnx"),
        (".", "expected to read ."),
    ],
)
def test_a_file_that_is_no_model(here, capsys, stage, model, says):
    code, line = refused(capsys, [model if word == "IN" else word for word in stage])
    assert code == 1
    assert says in line


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["export", "efficientnet_lite", "o.onnx"], 1, "did you mean 'efficientnet_lite0'"),
        (["export", "good.onnx", "o.onnx"], 2, "found the ONNX file"),
        (["export", "nowhere.py:make", "o.onnx"], 1, "no file nowhere.py"),
        (["export", "net.py:numbr", "o.onnx"], 1, "did you mean 'number'"),
        (["export", "net.py:raises", "o.onnx"], 1, "RuntimeError: no weights today"),
        (["export", "net.py:number", "o.onnx"], 1, "expected net.py:number to return (torch module"),
        (["export", "net.py:wrong_names", "o.onnx"], 1, "did you mean 'input'?"),
        (["export", "resnet18", "o.onnx", "--weights", "text.onnx"], 1, "expected weights for ResNet"),
        (["export", "resnet18", "file/o.onnx"], 1, "expected to be able to write file/o.onnx"),
        (["export", "resnet18"], 2, "expected MODEL and OUT"),
        (["export", "resnet18", "o.onnx", "--opset", "many"], 2, "'many' is not a valid integer"),
        (["quantize", "good.onnx", "o.onnx"], 2, "Missing option '--precision'"),
        (["quantize", "good.onnx", "o.onnx", "--precision", "fp61"], 2, "'fp61' is not one of"),
        (["quantize", "good.onnx", "o.onnx", "--precision", "int8"], 2, "expected real inputs to calibrate int8 on"),
        (["quantize", "good.onnx", "file/o.onnx", "--precision", "fp16"], 1, "expected to be able to write"),
        (["build-engine", "good.onnx", "o", "--target", "cpu", "--shape", "image=1"], 1, "name:min:opt:max"),
        (["build-engine", "good.onnx", "o", "--target", "cpu", "--shape", "imag:1x3x8x8"], 1, "did you mean 'image'?"),
        (["build-engine", "good.onnx", "o", "--target", "cpu", "--shape", "image:1x3x9x8"], 1, "axis 2 of image is"),
        (["build-engine", "good.onnx", "o", "--target", "toaster"], 2, "'toaster' is not one of"),
        (["build-engine", "good.onnx", "file/o", "--target", "cpu"], 1, "expected to be able to write"),
        (["deploy", "good.onnx", "out", "--target", "jetpack7.2", "--compute-capability", "8.6"], 6, "expected a"),
        (["deploy", "good.onnx", "out", "--target", "cpu"], 2, "expected data to judge an ONNX file on"),
        (["deploy", "good.onnx", "out", "--target", "cpu", "--data", "nowhere"], 1, "found nothing there"),
        (["deploy", "good.onnx", "out", "--target", "cpu", "--recipe", "recipe.toml"], 1, "did you mean 'precision'"),
        (["deploy", "good.onnx", "out", "--target", "cpu", "--recipe", "efficientnet"], 1, "'efficientnet_lite0'"),
        (["deploy", "good.onnx", "out", "--target", "cpu", "--data", ".", "--budget", "snr>=3"], 1, "'sqnr_db'"),
        (["quantize", "good.onnx", "o", "--precision", "int8", "--data", "net.py:number"], 1, "yield batches"),
        (["quantize", "good.onnx", "o", "--precision", "int8", "--data", "x.npz", "--samples", "0"], 2, "1 or more"),
        (["validate", "good.onnx", "--data", "x.npz"], 2, "Missing option '--reference'"),
        ([*VALIDATE, "--data", "nowhere.npz"], 1, "found nothing there"),
        ([*VALIDATE, "--data", "text.onnx"], 1, "expected an .npz, a folder of"),
        ([*VALIDATE, "--data", "net.py:raises"], 1, "RuntimeError: no weights today"),
        ([*VALIDATE, "--data", "x.npz", "--budget", "p98_ms<=3"], 1, "did you mean 'p99_ms'"),
        ([*VALIDATE, "--data", "x.npz", "--budget", "top1>=0.5"], 2, "expected labels to judge top1 by"),
        ([*VALIDATE, "--data", "x.npz", "--budget", "deadline_miss<=0.1"], 2, "next: --fps"),
        ([*VALIDATE, "--data", "x.npz", "--labels", "none.csv"], 1, "expected labels at none.csv"),
        ([*VALIDATE, "--data", "x.npz", "--fps", "0"], 2, "fps: expected 0.001 or more"),
        ([*VALIDATE, "--data", "x.npz", "--backend", "rtx"], 2, "expected a bundle for backend rtx"),
        (["validate", "good.onnx", "--reference", "text.onnx", "--data", "x.npz"], 1, "expected an ONNX model"),
        (["validate", "nowhere", "--reference", "good.onnx", "--data", "x.npz"], 1, "expected an ONNX file at nowhere"),
        (["validate", ".", "--reference", "good.onnx", "--data", "x.npz"], 7, "expected a bundle with manifest.json"),
        (["run", "nowhere", "--source", "."], 1, "expected a bundle, a folder or an .ekb, at"),
        (["run", ".", "--source", "a.mp4", "--source", "b.mp4"], 2, "'--source': expected one, found 2"),
        (["run", "", "--source", "."], 2, "expected a name, found none"),
        (["run", ".", "--source", ".", "--trusted-keys", ""], 2, "expected a name, found none"),
        (["run", ".", "--source", "."], 7, "expected a bundle with manifest.json"),
        (["bundle", "verify", "."], 7, "expected a bundle with manifest.json"),
        (["inspect", "nowhere"], 1, "expected a file or a bundle"),
        (["inspect", "text.onnx"], 1, "expected an ONNX model"),
        (["inspect", "good.onnx", "--jsno"], 2, "--json"),
        (["depoly"], 2, "depoly"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_one_line_and_the_right_code(here, capsys, arguments, code, says):
    found, line = refused(capsys, arguments)
    assert (found, says in line) == (code, True), line


def test_an_unwritable_folder_is_found_before_the_work(here, capsys, monkeypatch):
    monkeypatch.setattr("edgekit.quantize.making.read_onnx_file", lambda path: pytest.fail("the model was read first"))
    assert refused(capsys, ["quantize", "good.onnx", "file/o.onnx", "--precision", "fp16"])[0] == 1


def test_a_target_that_cannot_be_built_is_found_before_the_export(here, capsys, monkeypatch):
    monkeypatch.setattr("edgekit.deploy._source", lambda *_: pytest.fail("the export was started first"))
    assert refused(capsys, ["deploy", "resnet18", "out", "--target", "jetpack6", "--compute-capability", "8.6"])[0] == 6


def test_verbose_adds_the_traceback(here, capsys):
    with pytest.raises(SystemExit):
        main(["inspect", "text.onnx", "-v"])
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_of_ours_is_one_line_too(here, capsys, monkeypatch):
    def broken(path: Path) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("edgekit.inspect.inspect", broken)
    code, line = refused(capsys, ["inspect", "good.onnx"])
    assert code == 1
    assert "a fault of edgekit itself: ZeroDivisionError: a bug; next: again with -v" in line


def test_interrupted_in_the_middle(here):
    """A real Ctrl-C, two seconds into an export that takes longer: 130, one line, an empty folder."""
    command = [sys.executable, "-m", "edgekit", "export", "resnet50", "out/resnet.onnx"]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)}
    )
    deadline = time.monotonic() + 60
    # The temporary file stands from the first moment of the stage.
    while not list(Path("out").glob(".*.part")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "edgekit: error: interrupted\n"
    assert list(Path("out").iterdir()) == []


def test_an_interrupt_that_a_library_swallows_comes_back(here, capsys, monkeypatch):
    """As inside a destructor or a bare `except`: the next step of the stage raises it again."""
    import edgekit.quantize.making as room

    def swallows(path: Path) -> object:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        return read(path)

    read = room.read_onnx_file
    monkeypatch.setattr(room, "read_onnx_file", swallows)
    code, line = refused(capsys, ["quantize", "good.onnx", "o.onnx", "--precision", "fp16"])
    assert (code, line) == (130, "edgekit: error: interrupted")


def test_an_error_that_an_interrupt_caused_is_the_interrupt(here, capsys, monkeypatch):
    """As inside an import: it fails in its own words, but what happened is Ctrl-C."""

    def breaks(path: Path) -> object:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        raise ImportError("half of a module")

    monkeypatch.setattr("edgekit.quantize.making.read_onnx_file", breaks)
    code, line = refused(capsys, ["quantize", "good.onnx", "o.onnx", "--precision", "fp16"])
    assert (code, line) == (130, "edgekit: error: interrupted")


def test_json_is_alone_on_standard_output(here, capsys):
    Path("noisy.py").write_text(
        "import torch\nprint('loading checkpoint')\ndef make():\n    print('making')\n"
        "    return torch.nn.Linear(4, 2), {'input': torch.randn(2, 4)}\n"
    )
    with pytest.raises(SystemExit) as exit_info:
        main(["export", "noisy.py:make", "o.onnx", "--json"])
    printed = capsys.readouterr()
    assert exit_info.value.code == 0
    assert json.loads(printed.out)["stage"] == "export"
    assert "loading checkpoint" in printed.err


@pytest.mark.parametrize(("package", "extra"), [("onnx", "build"), ("torch", "export"), ("tensorrt_rtx", "rtx")])
def test_a_package_that_the_core_does_not_have_is_named_with_its_extra(capsys, package, extra):
    from edgekit.cli import _explained

    assert _explained(ModuleNotFoundError(f"No module named '{package}'", name=f"{package}.helper"), False) == 1
    said = capsys.readouterr().err
    assert f"expected the package {package}.helper for this command, found none" in said
    assert said.endswith(f"next: pip install 'edgekit[{extra}]'\n")


def test_what_a_config_refuses_is_said_with_the_recipes_file_and_table(here, capsys):
    (here / "r.toml").write_text('[quantize]\nprecision = "fp32"\n')
    arguments = ["deploy", "lstm_forecaster", "out", "--target", "cpu", "--recipe", "r.toml"]
    code, line = refused(capsys, arguments)
    assert code == 1
    assert "r.toml: [quantize] precision: expected one of fp16" in line
