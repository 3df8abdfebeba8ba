"""The commands of examples/04_robot_loop, with a drive that listens, and a process that is killed; and what a
picture has to be like for the robot to move.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edgekit.runtime.sources import open_source
from tests.export.real.recording import folder
from tests.reading import ROOT, commands, run

pytestmark = pytest.mark.slow  # trains and exports two networks
pytest.importorskip("torch", reason="the example starts from torch modules")
pytest.importorskip("av", reason="the example writes and reads a clip")


NEEDED = ("03_voice", "07_your_model")


def test_its_commands(checkout, ran):
    """Both loops tell the drive at their rates; a killed process comes back, the other goes on; Ctrl-C ends all."""
    folder("silero_vad")
    folder_made, clip_made, *others, last, _ = commands("examples/04_robot_loop/README.md")
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
            state = json.loads((checkout / "out/state.json").read_text())["tasks"]
            pids = {name: task["pid"] for name, task in state.items()}
            os.kill(pids["see"], signal.SIGKILL)
            first = len(heard)
            hear_until(drive, heard, lambda: "see" in [item["from"] for item in heard[first + 5 :]])
            state = json.loads((checkout / "out/state.json").read_text())["tasks"]
        finally:
            robot.send_signal(signal.SIGINT)
        printed, _ = robot.communicate(timeout=60)
    assert robot.returncode == 0, printed
    told_s = [float(line.split()[0]) for line in printed.splitlines() if line[0].isdigit()]
    assert told_s == sorted(told_s), "supervisor and loops have one clock"
    assert state["hear"]["pid"] == pids["hear"], "the other goes on"
    assert state["see"]["pid"] not in (None, pids["see"])
    assert (state["see"]["restarts"], state["hear"]["restarts"]) == (1, 0)
    for name in ("see", "hear"):
        counts = re.search(rf"^{name} ended \d restarts, since the last (\{{.*\}})", printed, re.MULTILINE).group(1)
        counts = json.loads(counts.replace("'", '"'))
        assert counts["captured"] == counts["processed"] + counts["dropped"]
    seen = [item for item in heard if item["from"] == "see"]
    assert {item["speed"] for item in seen if not item["why"]} <= {1.0, 0.6, 0.4}
    assert 1.0 in {item["speed"] for item in seen}, "it begins on brick"
    assert all(item["speed"] == 0 for item in heard if item["why"])


@pytest.fixture
def ground(ran, monkeypatch):
    """`ground(pictures)`: how often it allows which speed, and why; with the example's module and the bundle of 07."""
    monkeypatch.setenv("TRUSTED_KEYS", "none")
    spec = importlib.util.spec_from_file_location("example_04_main", ROOT / "examples/04_robot_loop/main.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.opened(ran("07_your_model").folder / "out/ground/bundle") as session:

        def ask(pictures) -> Counter:
            judge, found = module.Ground(session), Counter()
            for picture in pictures:
                session.preprocess(picture, 0)
                session.execute()
                found[judge.speed(session.postprocess(1)[0])] += 1
            return found

        ask.module = module
        yield ask


def clip(command: str, checkout: Path) -> list[np.ndarray]:
    (checkout / "out").mkdir(exist_ok=True)
    run(command, checkout)
    return [frame.data for frame in open_source(str(checkout / command.split()[2]), pace=False).frames()]


def test_the_ride_moves_and_a_picture_that_hangs_ends_it(ground, checkout):
    ride = clip(commands("examples/04_robot_loop/README.md")[1], checkout)
    found = ground(ride)
    moves = {speed: sum(found[key] for key in found if key[0] == speed) for speed in (1.0, 0.6, 0.4)}
    assert min(moves.values()) >= 110, "of 120 pictures of each ground"
    assert sum(moves.values()) >= 350
    hung = ground([ride[5]] * 30)
    assert hung == {(1.0, ""): ground.module.FROZEN - 1, (0.0, "frozen"): 31 - ground.module.FROZEN}


def test_what_is_no_ground_stops_it(ground, checkout):
    """The network is sure of a lens cap, of noise, and of a coffee cup."""
    noise, stops = np.random.default_rng(0), {}
    for shape in ((32, 44, 3), (480, 640, 3)):
        for name, value in (("black", 0), ("dark", 16), ("grey", 119), ("light", 200), ("white", 255)):
            stops[name, shape] = [np.full(shape, value, np.uint8)]
        stops["noise", shape] = list(noise.integers(0, 256, (10, *shape), np.uint8))
        for name, mean, spread in (("ground's own noise", 119, 36), ("lens cap's noise", 3, 3), ("fog's", 128, 5)):
            stops[name, shape] = list(noise.normal(mean, spread, (10, *shape)).clip(0, 255).astype(np.uint8))
    (made,) = [command for command in commands("examples/02_camera/README.md") if "clip.py" in command]
    stops["coffee"] = clip(made, checkout)
    moved = {what: found for what, pictures in stops.items() if (found := ground(pictures)).keys() - STOPS}
    assert moved == {}


STOPS = {(0.0, why) for why in ("contrast", "grain", "unsure", "frozen")}


def test_the_numbers_are_those_that_it_prints(ground, ran):
    command = commands("examples/04_robot_loop/README.md")[-1]
    printed = dict(line.split(" = ", 1) for line in run(command, ran("07_your_model").folder).splitlines())
    sure = json.loads(printed["SURE"].replace("'", '"'))
    # Another CPU, or another torch, learns a little else; the ride above says whether the numbers of main.py still do.
    may_differ = {"brick": 0.05, "grass": 0.05, "gravel": 0.25}
    assert sure == {name: pytest.approx(value, abs=may_differ[name]) for name, value in ground.module.SURE.items()}
    for found, said in zip(
        re.findall(r"[\d.]+", printed["CONTRAST, GRAIN"]), (*ground.module.CONTRAST, *ground.module.GRAIN), strict=True
    ):
        assert float(found) == pytest.approx(said, abs=0.11)


def hear_until(drive, heard, enough):
    end_s = time.monotonic() + 120
    while not enough():
        assert time.monotonic() < end_s, heard[-5:]
        heard.append(json.loads(drive.recv(4096)))
