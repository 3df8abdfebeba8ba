"""Every command of the README is run, in an empty folder, as a reader would; and what other pages show."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from tests.reading import BIN, ROOT, blocks, commands, run

pytestmark = pytest.mark.slow  # exports and builds for real

pytest.importorskip("torch", reason="the README starts from a torch module")
pytest.importorskip("tensorrt_rtx", reason="the README builds engines")


def test_the_readmes_commands(tmp_path):
    modules = [block for block in blocks("README.md", "python") if re.match(r"# \w+\.py\n", block)]
    assert len(modules) == 2
    for module in modules:
        (tmp_path / module.split("\n")[0].removeprefix("# ")).write_text(module)
    made = {command: run(command, tmp_path) for command in commands("README.md") if not command.startswith("make ")}
    assert len(made) >= 10
    verdict = "PASS (ort, cpu, fp16 emulated); engine rtx sm80,sm86,sm89,sm120,sm121: built, not run"
    assert verdict in made["edgekit deploy my.py:make_model out/ --target rtx"]
    assert "all digests match" in made["edgekit bundle verify out/bundle"]


def test_make_demo(tmp_path):
    """`make demo` as the README names it, with the packages that this run has."""
    assert commands("README.md")[:2] == ["make demo", "make test"]
    shutil.copytree(ROOT, tmp_path / "clone", ignore=shutil.ignore_patterns(".venv*", ".git", "out", ".*_cache"))
    printed = run(f"make --no-print-directory --old-file .venv/.installed BIN={BIN} demo", tmp_path / "clone")
    assert "PASS (ort, cpu, fp16 emulated); engine rtx sm86,sm89: built, not run (no GPU here)" in printed
    assert "espresso 0.9" in printed
    verdict = "PASS (ort, cpu, fp16 emulated); engine rtx sm80,sm86,sm89,sm120,sm121: built, not run (no GPU here)"
    assert verdict in printed
    named = re.search(r"the five of five.npz are (.*)", printed)
    read = re.findall(r"^sample \d +(\d) [01]\.\d\d ", printed, re.MULTILINE)
    assert named is not None
    assert ", ".join(read) == named.group(1)
    # make itself checks their codes: 3, 4 and 5.
    verdicts = [line.split(" (")[0] for line in printed.splitlines() if re.match("(FAIL|INCONCLUSIVE) ", line)]
    assert verdicts == ["FAIL", "FAIL", "INCONCLUSIVE"]
    assert int(re.search(r"about (\d+) samples missing", printed).group(1)) >= 249


def test_make_test_runs_everything():
    wanted = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for tool in ("ruff check", "ruff format --check", "mypy", "pytest"):
        assert tool in wanted
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_calibration_pages_function(tmp_path):
    """The function of calibration/README.md reads a log of scans, one file a scan, for a network of scans."""
    onnx = pytest.importorskip("onnx")
    (tmp_path / "log").mkdir()
    random = np.random.default_rng(0)
    for number in range(100):
        np.save(tmp_path / f"log/{number:04}.npy", random.uniform(0, 30, 360))
    (block,) = blocks("calibration/README.md", "python")
    (tmp_path / "frames.py").write_text(block)
    weight = onnx.numpy_helper.from_array(random.normal(size=(360, 4)).astype(np.float32), "weight")
    scan, speed = (
        onnx.helper.make_tensor_value_info(*item) for item in (("scan", 1, ["n", 360]), ("speed", 1, ["n", 4]))
    )
    node = onnx.helper.make_node("MatMul", ["scan", "weight"], ["speed"])
    graph = onnx.helper.make_graph([node], "g", [scan], [speed], [weight])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "m.onnx")
    printed = run("edgekit quantize m.onnx q.onnx --precision int8 --data frames.py:calibration", tmp_path)
    assert re.search("1 layers? in int8, calibrated on 100 samples of frames.py:calibration", printed)
    assert "fused layers" in run("edgekit build-engine q.onnx q.engine --target rtx", tmp_path)
    table = json.loads((tmp_path / "q.onnx.scales.json").read_text())
    assert table["samples"] == 100
    assert 0.99 < table["tensors"]["scan"]["largest"] <= 1
