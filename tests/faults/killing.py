"""End commands at random moments, by SIGKILL or SIGTERM, and look at what they leave: run by test_killed.py.

    python killing.py ENDS SEED

It runs in a folder that has `in` and an empty `out`. Everything is imported before it forks, so that an end can come at
any moment of the work. Each command is ended in the middle of its first write, too. Prints, as JSON, how often which
one was ended before, while and after it replaced its outputs.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import html.parser
import io
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

import edgekit.build.package
import edgekit.check
import edgekit.quantize  # noqa: F401 (imported before the forks)
from edgekit.cli import main
from tests.faults.commands import COMMANDS, left_aside, put_earlier, snapshot

ENDED = (
    "quantize",
    "build-engine cpu",
    "build-engine package",
    "check",
    "bundle pack",
    "bundle unpack",
    "bundle add-engine",
)


def started(words: str, before: Callable[[], object] = lambda: None) -> int:
    """A process that runs the command, and something before; its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        before()
        main(words.split())
    except SystemExit as ended:
        os._exit(int(ended.code or 0))
    finally:
        os._exit(99)


def check_whole(files: dict[str, bytes], earlier: dict[str, bytes]) -> None:
    """Each file is that of the earlier run, or complete by what its own kind says of it."""
    for name, data in files.items():
        if data == earlier.get(name):
            continue
        if name.endswith((".onnx", ".engine")):
            onnx.checker.check_model(onnx.load_model_from_string(data))
        elif name.endswith(".json"):
            json.loads(data)
        elif name.endswith(".html"):
            assert data.endswith(b"</html>\n"), name
            html.parser.HTMLParser().feed(data.decode())
        elif name.endswith(".ekb"):
            assert data == Path("in/b.ekb").read_bytes(), name
    bundle = {name.removeprefix("out/bundle/"): data for name, data in files.items() if name.startswith("out/bundle/")}
    robot = {name.removeprefix("out/robot/") for name in files if name.startswith("out/robot/")}
    if robot and files != earlier:
        assert set(json.loads(files["out/robot/manifest.json"])["files"]) | {"manifest.json"} == robot
    if bundle and files != earlier:
        assert bundle == {name: (Path("in/bundle") / name).read_bytes() for name in bundle}
        assert set(json.loads(bundle["manifest.json"])["files"]) | {"manifest.json"} == set(bundle)
    sums = files.get("out/m.engine.package/SHA256SUMS", b"").decode().splitlines()
    for digest, name in (line.split("  ", 1) for line in sums):
        assert hashlib.sha256(files[f"out/m.engine.package/{name}"]).hexdigest() == digest, name


def end(name: str, number: int, moment: Callable[[], object], before: Callable[[], object] = lambda: None) -> str:
    """Start a command on what an earlier one left, and end it at a moment; when it was that the end came."""
    command = COMMANDS[name]
    put_earlier(command.outs)
    earlier = snapshot(command.outs)
    pid = started(command.words, before)
    moment()
    os.kill(pid, number)
    status = os.waitpid(pid, 0)[1]
    found = snapshot(command.outs)
    check_whole(found, earlier)
    assert {Path(file).parts[1] for file in found} >= set(command.outs), "an earlier output is gone"
    if os.WIFEXITED(status):
        code, said = os.WEXITSTATUS(status), Path("said").read_text()
        assert code in (command.code, 143), (code, said)
        # Between two of its own lines click says an empty one.
        assert code != 143 or said.lstrip("\n") == "edgekit: error: terminated\n", said
    else:
        assert os.WTERMSIG(status) == number
    if number == signal.SIGTERM:
        assert left_aside() == [], left_aside()
    if os.WIFEXITED(status) and code == command.code:
        return "after"
    return "before" if found == earlier else "while"


class Stopping(io.FileIO):
    """A file whose first write does half of its work, and then waits for its end."""

    stopped = False

    def write(self, data: Any) -> int:
        if Stopping.stopped:
            return super().write(data)
        Stopping.stopped = True
        super().write(memoryview(data)[: len(data) // 2])
        Path("half").touch()
        time.sleep(60)
        raise AssertionError("nobody ended it")


def stop_in_the_middle() -> None:
    """From now on, what this process writes in `out` stops."""
    plain = io.open

    def opens(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        inside = Path.cwd() / "out" in Path(file).resolve().parents if isinstance(file, (str, Path)) else False
        if not inside or "b" not in mode or not set(mode) & set("wx"):
            return plain(file, mode, *rest, **named)
        return io.BufferedWriter(Stopping(file, mode.replace("b", "")))

    io.open = opens


def half_seen() -> None:
    """Wait for the half of a write."""
    deadline = time.monotonic() + 50
    while not Path("half").exists():
        assert time.monotonic() < deadline, "it wrote nothing"
        time.sleep(0.001)
    Path("half").unlink()


def again(name: str) -> None:
    """The same command goes through where one was ended, and what that left aside counts for nothing."""
    command = COMMANDS[name]
    assert os.WEXITSTATUS(os.waitpid(started(command.words), 0)[1]) == command.code, Path("said").read_text()
    found = snapshot(command.outs)
    check_whole(found, {})
    assert all((Path("out") / name).exists() for name in command.outs)


def clear() -> None:
    """An empty `out`."""
    shutil.rmtree("out")
    Path("out").mkdir()


def everything(ends: int, seed: int) -> None:
    """See above."""
    pick = random.Random(seed)
    told: dict[str, dict[str, int]] = {}
    for name in ENDED:
        start = time.perf_counter()
        again(name)
        takes_s = time.perf_counter() - start
        clear()
        for number in (signal.SIGKILL, signal.SIGTERM):
            assert end(name, number, half_seen, stop_in_the_middle) == "before"
            assert bool(left_aside()) == (number == signal.SIGKILL)
            again(name)
            clear()
            seen: collections.Counter[str] = collections.Counter()
            for _ in range(ends):
                seen[end(name, number, functools.partial(time.sleep, pick.uniform(0, 1.2 * takes_s)))] += 1
                clear()
            told[f"{name}, {number.name}"] = dict(seen)
    print(json.dumps(told))


if __name__ == "__main__":
    everything(int(sys.argv[1]), int(sys.argv[2]))
