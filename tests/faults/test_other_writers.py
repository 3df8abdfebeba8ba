"""What is written otherwise: keys, signatures, answers line by line, a golden input, a state that is written again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.errors import OutputError
from edgekit.runtime.loop.events import Events
from edgekit.runtime.loop.golden import Golden
from edgekit.runtime.supervise.state_file import StateFile
from tests.faults.commands import check_refused, run, snapshot
from tests.faults.conftest import PAGE
from tests.faults.test_write_errors import fill_up, no_file_above
from tests.run.conftest import colours  # noqa: F401 (a fixture)


def test_half_a_key_is_no_key(here, capsys):
    pytest.importorskip("cryptography")
    with no_file_above(40):
        code, said = run("bundle keygen out/key", capsys)
    check_refused(code, said, {}, ("key", "key.pub"))
    assert run("bundle keygen out/key", capsys) == (0, "")


def test_a_bundle_is_not_signed_by_half(here, capsys):
    pytest.importorskip("cryptography")
    shutil.copytree("in/bundle", "out/bundle")
    assert run("bundle keygen key", capsys)[0] == 0
    before = snapshot(("bundle",))
    with no_file_above(40):
        code, said = run("bundle sign out/bundle --key key", capsys)
    check_refused(code, said, before, ("bundle",))
    assert run("bundle sign out/bundle --key key", capsys) == (0, "")
    assert run("bundle verify out/bundle --trusted-keys key.pub", capsys) == (0, "")


def test_answers_that_find_no_room_end_the_loop(here, capsys, colours):  # noqa: F811
    Path("frames").mkdir()
    for number in range(40):
        Image.fromarray(np.full((16, 16, 3), 60 + number, np.uint8)).save(f"frames/{number:02}.png")
    words = f"run {colours} --source frames --live --answers out/answers.jsonl"
    with no_file_above(700):
        code, said = run(words, capsys)
    assert (code, said.count("\n")) == (1, 1)
    assert "sink errors" in said
    lines = Path("out/answers.jsonl").read_text().split("\n")
    assert [json.loads(line)["number"] for line in lines[:-1]] == list(range(len(lines) - 1))
    assert len(lines) > 1


def test_a_disk_that_is_full_for_a_while_leaves_whole_lines_alone(here, capsys, small_disk, colours):  # noqa: F811
    """The end of the disk comes within a line; later runs find room, at first for a part of it."""
    words = f"run {colours} --source synthetic:200 --answers out/answers.jsonl --frames"
    fill_up(1)
    code, said = run(f"{words} 100", capsys)
    assert code == 1
    assert "sink errors" in said
    first = Path("out/answers.jsonl").read_bytes()
    assert 0 < len(first) <= PAGE
    assert first.endswith(b"}\n")
    fill_up(0)
    assert run(f"{words} 100", capsys)[0] == 1
    Path("out/filler").unlink()
    assert run(f"{words} 10", capsys)[0] == 0
    whole = Path("out/answers.jsonl").read_bytes()
    assert whole.startswith(first)
    numbers = [json.loads(line)["number"] for line in whole.splitlines()]
    assert len(numbers) == len(first.splitlines()) + 10


def test_a_golden_input_stays_the_earlier_one(tmp_path):
    array = {"x": np.ones((4, 4), np.float32)}
    Golden(array, array).save(tmp_path / "golden.npz")
    before = (tmp_path / "golden.npz").read_bytes()
    with no_file_above(100), pytest.raises(OutputError, match=r"expected room for .*golden\.npz"):
        Golden({"x": np.zeros((9, 9), np.float32)}, array).save(tmp_path / "golden.npz")
    assert (tmp_path / "golden.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["golden.npz"]


def test_a_full_disk_does_not_end_a_robots_tasks(here, small_disk):
    """The state is an event then, once, and is written again when there is room."""
    events = Events()
    state = StateFile(Path("out/state.json"), {"count": 1}, events)
    fill_up(0)
    for count in (2, 3):
        state.write({"count": count})
    assert [event.kind for event in events.last()] == ["state not written"]
    assert json.loads(Path("out/state.json").read_text())["count"] == 1
    Path("out/filler").unlink()
    state.write({"count": 4})
    assert json.loads(Path("out/state.json").read_text())["count"] == 4
