"""The commands of examples/04_robot_loop, with a drive that listens, and a process that is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.export.real.recording import folder
from tests.reading import commands, run

pytestmark = pytest.mark.slow  # trains and exports two networks
pytest.importorskip("torch", reason="the example starts from torch modules")
pytest.importorskip("av", reason="the example writes and reads a clip")


NEEDED = ("03_voice", "07_your_model")


def test_its_commands(checkout, ran):
    """Both loops tell the drive at their rates; a killed process comes back, the other goes on; Ctrl-C ends all."""
    folder("silero_vad")
    folder_made, clip_made, *others, last = commands("examples/04_robot_loop/README.md")
    run(folder_made, checkout)
    run(clip_made, checkout)
    known = [command for example in NEEDED for command in commands(f"examples/{example}/README.md")]
    assert set(others) <= set(known), "its two networks are made as there"
    for example in NEEDED:
        for made in (ran(example).folder / "out").iterdir():
            (checkout / "out" / made.name).symlink_to(made)
    heard: list[dict] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as drive:
        drive.bind(("127.0.0.1", 9870))
        drive.settimeout(60)
        words = last.split()[last.split().index("python") + 1 :]
        environment = {**os.environ, "TRUSTED_KEYS": "none"}
        robot = subprocess.Popen(
            [sys.executable, *words], cwd=checkout, stdout=subprocess.PIPE, text=True, env=environment
        )
        try:
            hear_until(drive, heard, lambda: {item["from"] for item in heard} == {"see", "hear"} and len(heard) > 60)
            state = json.loads((checkout / "state.json").read_text())["tasks"]
            pids = {name: task["pid"] for name, task in state.items()}
            os.kill(pids["see"], signal.SIGKILL)
            first = len(heard)
            hear_until(drive, heard, lambda: "see" in [item["from"] for item in heard[first + 5 :]])
            state = json.loads((checkout / "state.json").read_text())["tasks"]
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
