"""A robot tells nobody which network it runs: onnxruntime's telemetry is off where edgekit is imported first."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

OPEN = """
import sys
from edgekit.runtime import Session
with Session.open(sys.argv[1], "ort") as session:
    session.warmup()
"""
PLAIN = "import onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1] + '/model.onnx')"


def left_by(program: str, bundle, folder, **environment: str) -> set[str]:
    """What a process leaves in its folder of temporary files: telemetry keeps the id of its session there, .ses."""
    folder.mkdir()
    given = {key: value for key, value in os.environ.items() if key not in ("ORT_DISABLE_TELEMETRY", "CI")}
    given |= {"TMPDIR": str(folder), **environment}
    subprocess.run([sys.executable, "-c", program, str(bundle)], env=given, check=True)
    return {path.name for path in folder.iterdir()}


def test_none_is_begun(small_bundle, tmp_path):
    assert left_by(OPEN, small_bundle, tmp_path / "ours") == set()
    if left_by(PLAIN, small_bundle, tmp_path / "plain") != {".ses"}:
        pytest.skip("this onnxruntime has no telemetry, or is told elsewhere to have none")
    assert left_by(OPEN, small_bundle, tmp_path / "asked", ORT_DISABLE_TELEMETRY="0") == {".ses"}, "who wants it has it"
