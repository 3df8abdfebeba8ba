"""examples/04_robot_loop where something is wrong from the start, and its drive where it hears nonsense."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.reading import ROOT

EXAMPLE = ROOT / "examples/04_robot_loop"
PATIENCE_S = 60


def robot(folder, *words: str, stdout: int = subprocess.PIPE, **more: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRUSTED_KEYS": "none", **more}
    return subprocess.Popen(
        [sys.executable, EXAMPLE / "main.py", *words],
        cwd=folder,
        env=environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


WORDS = ("ground", "voice", "synthetic:30", "call.wav")


def test_a_state_that_cannot_be_written_is_one_line(tmp_path):
    code, out, err = ended(robot(tmp_path, *WORDS, RUNTIME_DIRECTORY="/proc/no"))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("edgekit: error: expected to be able to write /proc/no/state.json, found: ")


@pytest.mark.parametrize("keys", ["none", "nowhere"])
def test_a_bundle_or_a_folder_of_keys_that_is_not_there_ends_it_at_once(keys, tmp_path):
    (tmp_path / "voice").mkdir()
    code, out, err = ended(robot(tmp_path, *WORDS, TRUSTED_KEYS=keys))
    assert (code, err) == (1, "")
    given_up = [line for line in out.splitlines()[-2:] if " given up 0 restarts" in line]
    # Both are wrong, and the first of them ends the other before it has said so.
    wrong = {
        "none": (
            "expected a bundle, a folder or an .ekb, at ground, found none",
            "expected a bundle with manifest.json in voice",
        ),
        "nowhere": ("in nowhere, found no such file",),
    }
    assert given_up
    assert all(any(why in line for why in wrong[keys]) for line in given_up)
    assert [path.name for path in tmp_path.iterdir() if path.name != "voice"] == ["out"], "which git ignores"


def test_without_its_arguments_or_keys_it_says_what_it_wants(tmp_path):
    assert ended(robot(tmp_path)) == (
        1,
        "",
        "A robot that looks and listens: python main.py GROUND_BUNDLE VOICE_BUNDLE CAMERA SOUND\n",
    )
    code, out, err = ended(robot(tmp_path, *WORDS, TRUSTED_KEYS=""))
    assert (code, out) == (1, "")
    assert err.startswith("expected TRUSTED_KEYS to be ")


@pytest.mark.parametrize("after_s", [0.1, 0.2, 0.4])
def test_ctrl_c_before_it_runs_is_no_traceback(after_s, tmp_path):
    process = robot(tmp_path, *WORDS)
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    # On a slow machine Python itself may not have come to the example, or not over its first line.
    assert str(EXAMPLE) not in err or "\n    import signal\n" in err
    assert code in (0, 1, -signal.SIGINT)


def test_a_journal_that_is_closed_changes_nothing(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    process = robot(tmp_path, *WORDS, stdout=writer)
    os.close(writer)
    assert ended(process) == (1, None, ""), "for there is no bundle"


def test_the_drive_goes_on_where_it_hears_nonsense(tmp_path):
    """What is not a speed of one of the two is silence, and stops it; what is one afterwards counts again."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        port = line.getsockname()[1]
    code = (EXAMPLE / "drive.py").read_text().replace("9870", str(port))
    printed = tmp_path / "printed"
    with printed.open("w") as file:
        drive = subprocess.Popen([sys.executable, "-c", code, str(PATIENCE_S)], stdout=file)
    said = {"speed": 0.6, "why": ""}
    good = [json.dumps({"from": name, **said}).encode() for name in ("see", "hear")]
    bad = [
        *(b"", b"\xff\xfe", b"[1]", b"{}", b"7", b"[" * 4000),
        *(json.dumps({**said, "from": name}).encode() for name in ("lidar", ["see"], None)),
        *(f'{{"from": "see", "why": "", "speed": {speed}}}'.encode() for speed in ("NaN", "1e99", "-1", "null", "[]")),
    ]
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:

            def until(speed: str, *messages: bytes) -> None:
                end_s = time.monotonic() + PATIENCE_S
                while not printed.read_text().endswith(f"{speed}\n"):
                    assert drive.poll() is None
                    assert time.monotonic() < end_s, printed.read_text()
                    for message in messages:
                        line.sendto(message, ("127.0.0.1", port))
                    time.sleep(0.05)

            until("0.6 m/s", *good)
            until("0.0 m/s hear is silent", *bad)
            until("0.6 m/s", *bad, *good)
    finally:
        drive.kill()
        drive.wait()
