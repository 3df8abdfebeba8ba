"""The short form of `make soak`: a minute in which something goes wrong every second, and nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")

ROOT = Path(__file__).parents[3]
HARMS = {"swap kept", "swap refused", "swap undone", "hung", "recovered", "bad", "good again", "lost", "back", "gap"}


@pytest.mark.slow  # a minute: memory that grows shows in no shorter time
def test_a_minute_of_losses_hangs_swaps_and_nan():
    command = [sys.executable, "-m", "tests.bench.soak", "60"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    found = json.loads(done.stdout)
    assert found["counts_agree"], found
    assert found["events_as_done"], found
    assert found["left"] == []
    assert found["growth_mib"] <= 2, found
    assert done.returncode == 0
    assert found["events"].keys() == {*HARMS, "swapped"}
    assert min(found["events"].values()) >= 2
    assert found["captured"] == found["processed"] + found["dropped"]
