"""Two hundred installers are killed at random moments: what is current is whole, and another process opens it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from edgekit.bundle import Contents, pack, read_manifest  # noqa: E402
from tests.runtime.small_streams import FLOAT, bundle_of, made, value  # noqa: E402

KILLS = 200


def multiplying_by(number: int, folder: Path) -> Path:
    """A bundle: x [batch,4] -> y, so many times x; the number is in its verdict and in its labels, too."""
    nodes = [onnx.helper.make_node("Mul", ["x", "number"], ["y"])]
    model = made(
        nodes,
        [value("x", FLOAT, "batch", 4)],
        [value("y", FLOAT, "batch", 4)],
        {"number": np.array(number, np.float32)},
    )
    network = bundle_of(model, folder, None, {"batch": (1, 1, 4)})
    label = str(number).encode()
    more = {f"reports/{index}.txt": label * 1000 for index in range(6)}  # so that there is something to copy
    contents = Contents({"model.onnx": network / "model.onnx"}, {"labels.txt": label, **more})
    pack(folder / "labelled", replace(read_manifest(network), verdict=f"PASS {number}"), contents)
    return folder / "labelled"


def test_two_hundred_kills_and_a_reader(tmp_path, root):
    bundles = [multiplying_by(number, tmp_path / str(number)) for number in (2, 3, 5)]
    root.parent.mkdir()
    here = Path(__file__)
    done = subprocess.run(
        [sys.executable, here.with_name("killing.py"), root, str(KILLS), "1", *bundles],
        env={**os.environ, "PYTHONPATH": str(here.parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert sum(told["left"].values()) == KILLS
    assert told["left"]["a part of a version"] > 0, "the moments were not those of an install"
    assert sum(told["seen"].values()) > 0
