"""Two processes deploy and open at once: whoever opens gets one of the two bundles, whole, and is never refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from edgekit.bundle import Contents, pack, read_manifest
from tests.install.test_killed import multiplying_by


def filled(number: int, folder: Path) -> Path:
    """A bundle that takes a while to read: every other file than the model is full of the number."""
    small = multiplying_by(number, folder)
    digits = str(number).encode()
    texts = {f"more/{index}.txt": digits * 200_000 for index in range(5)}
    contents = Contents({"model.onnx": small / "model.onnx"}, {"labels.txt": digits, **texts})
    pack(folder / "filled", read_manifest(small), contents)
    return folder / "filled"


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_one_process_deploys_while_another_opens(tmp_path, memory, seconds):
    bundles = [filled(number, tmp_path / str(number)) for number in (2, 3)]
    here = Path(__file__)
    done = subprocess.run(
        [sys.executable, here.with_name("deploying.py"), memory, str(seconds), *bundles],
        env={**os.environ, "PYTHONPATH": str(here.parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    print(told)
    assert told["deployed"] >= seconds, "it deploys as fast as that"
    assert told["opened"].keys() == {"bundle", "b.ekb", "root/current"}
    for seen in told["opened"].values():
        assert seen.keys() == {"2", "3"}
        assert sum(seen.values()) >= seconds
