"""Commands that are ended at random moments leave what was there, or what they make, and never a half of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.commands import COMMANDS, put_earlier, run, snapshot

ENDS = 3  # of each command, by each signal, besides the one in the middle of a write


@pytest.mark.slow
def test_commands_ended_at_random_moments(here):
    pytest.importorskip("onnx")
    script = Path(__file__).with_name("killing.py")
    done = subprocess.run(
        [sys.executable, script, str(ENDS), "1"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    for seen in told.values():
        assert sum(seen.get(when, 0) for when in ("before", "while", "after")) == ENDS


def test_sigterm_is_said_and_leaves_nothing(here, capsys, monkeypatch):
    """After the first write, before the last."""
    command = COMMANDS["quantize"]
    put_earlier(command.outs)
    before = snapshot(command.outs)

    from edgekit import quantize as room

    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(room, "report_of", lambda *_: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(60))
    assert run(command.words, capsys) == (143, "edgekit: error: terminated\n")
    assert snapshot(command.outs) == before
    assert list(Path().rglob("*.part")) == []
    found = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, handler)
    assert getattr(found, "before", found) is handler, "as it was, behind the echo of the first"
