"""Every command of the README and of the examples is run, in an empty folder, as a reader would."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
pytestmark = pytest.mark.slow  # exports and builds for real

pytest.importorskip("torch", reason="the README starts from a torch module")
pytest.importorskip("tensorrt_rtx", reason="the README builds engines")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    return [line.split(" #")[0].strip() for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]


def run(command: str, folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = re.sub(r"^edgekit ", "python -m edgekit ", command)
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


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


def test_the_photo_example(photos, lite0, tmp_path):
    assert (ROOT / "examples/01_photo/main.py").read_text().split('"""\n', 1)[1].strip() in (
        ROOT / "README.md"
    ).read_text()
    printed = run(f"python {ROOT}/examples/01_photo/main.py {lite0}/bundle {photos}/coffee.png", tmp_path)
    assert re.fullmatch(r"espresso \(9\d%\) in \d+\.\d ms on ort\n", printed)


def test_the_photo_examples_own_commands(tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    printed = [run(command, tmp_path) for command in commands("examples/01_photo/README.md")]
    assert printed[-1].startswith("espresso (9")


def test_the_digits_examples_own_commands(tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    printed = [run(command, tmp_path) for command in commands("examples/08_digits/README.md")]
    named = printed[0].rsplit(" are ", 1)[1].strip()
    assert ", ".join(line.split(" ")[0] for line in printed[-1].splitlines()) == named
    assert "top1_drop<=0.01: PASS" in printed[1]


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


def test_the_camera_examples_own_commands(tmp_path):
    pytest.importorskip("av", reason="writes and reads a clip")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "out").mkdir()
    printed = [run(command, tmp_path) for command in commands("examples/02_camera/README.md")]
    _, _, seen, shown = printed
    names = re.findall(r"^(.+) \(\d+%\), \d+ ms after the camera saw it$", seen, re.MULTILINE)
    assert [name for name in names if name in ("espresso", "tripod")] == ["espresso", "tripod"], (
        "cats are told in between"
    )
    captured, processed, dropped = account(seen)
    assert captured == 270 == processed + dropped
    assert re.match(r"page at http://127\.0\.0\.1:8080/", seen)
    assert "ended: seconds" in shown
    assert account(shown)[0] == sum(account(shown)[1:])


def account(printed: str) -> tuple[int, ...]:
    """Captured, processed and dropped."""
    return tuple(map(int, re.search(r"(\d+) captured = (\d+) processed \+ (\d+) dropped", printed).groups()))


def test_the_voice_examples_own_commands(tmp_path):
    """A person marked who speaks when: nobody until 6.69 s, then one of the two nearly all the time."""
    from tests.export.real.recording import folder, turns

    folder("silero_vad")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    *_, said = [run(command, tmp_path) for command in commands("examples/03_voice/README.md")]
    spoken = [tuple(map(float, turn)) for turn in re.findall(r"speech from +([\d.]+) s to +([\d.]+) s", said)]
    ticks = np.arange(0, 30, 0.01)
    ours, theirs = (
        np.any([(first <= ticks) & (ticks < last) for first, last in marks], axis=0)
        for marks in (spoken, [turn[1:] for turn in turns()])
    )
    assert np.mean(ours == theirs) > 0.9
    assert not ours[ticks < 6.5].any()
    assert re.search(r"938 chunks of 32 ms, .* 0 gaps; ended: sources ended", said)


def test_the_robot_examples_own_commands(tmp_path):
    """Both loops tell the drive at their rates; a killed process comes back, the other goes on; Ctrl-C ends all."""
    from tests.export.real.recording import folder

    folder("silero_vad")
    pytest.importorskip("av", reason="writes and reads a clip")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "out").mkdir()
    *before, last = commands("examples/04_robot_loop/README.md")
    for command in before:
        run(command, tmp_path)
    heard: list[dict] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as drive:
        drive.bind(("127.0.0.1", 9870))
        drive.settimeout(60)
        words = last.split()[last.split().index("python") + 1 :]
        robot = subprocess.Popen([sys.executable, *words], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        try:
            hear_until(drive, heard, lambda: {item["from"] for item in heard} == {"see", "hear"} and len(heard) > 60)
            state = json.loads((tmp_path / "state.json").read_text())["tasks"]
            pids = {name: task["pid"] for name, task in state.items()}
            os.kill(pids["see"], signal.SIGKILL)
            first = len(heard)
            hear_until(drive, heard, lambda: "see" in [item["from"] for item in heard[first + 5 :]])
            state = json.loads((tmp_path / "state.json").read_text())["tasks"]
        finally:
            robot.send_signal(signal.SIGINT)
        printed, _ = robot.communicate(timeout=60)
    assert robot.returncode == 0, printed
    assert state["hear"]["pid"] == pids["hear"], "the other goes on"
    assert state["see"]["pid"] not in (None, pids["see"])
    assert (state["see"]["restarts"], state["hear"]["restarts"]) == (1, 0)
    for name in ("see", "hear"):
        counts = re.search(rf"^{name} ended \d restarts (\{{.*\}})", printed, re.MULTILINE).group(1)
        counts = json.loads(counts.replace("'", '"'))
        assert counts["captured"] == counts["processed"] + counts["dropped"]
    in_time = [item for item in heard if not item["late"]]
    assert {item["speed"] for item in in_time if item["from"] == "see"} <= {1.0, 0.6, 0.4}
    assert 1.0 in {item["speed"] for item in in_time if item["from"] == "see"}, "it begins on brick"
    assert all(item["speed"] == 0 for item in heard if item["late"])


def hear_until(drive, heard, enough):
    end_s = time.monotonic() + 120
    while not enough():
        assert time.monotonic() < end_s, heard[-5:]
        heard.append(json.loads(drive.recv(4096)))
