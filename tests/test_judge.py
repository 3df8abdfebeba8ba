"""Models are judged in a process of their own: a crash there is one line here."""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
import pytest

from edgekit.errors import ModelError
from edgekit.judge import outputs_of


def test_outputs_are_onnxruntimes(small_onnx):
    session = onnxruntime.InferenceSession(str(small_onnx), providers=["CPUExecutionProvider"])
    batches = [{"image": np.full((size, 3, 8, 8), size, np.float32)} for size in (1, 4)]
    for batch, found in zip(batches, outputs_of(small_onnx, batches), strict=True):
        np.testing.assert_allclose(found["logits"], session.run(None, batch)[0], rtol=1e-5)


def test_a_refusal_is_one_line(tmp_path):
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(ModelError, match="onnxruntime refuses"):
        next(outputs_of(tmp_path / "text.onnx", []))


def test_a_crash_is_one_line(tmp_path, small_onnx, monkeypatch):
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crashing))
    with pytest.raises(ModelError, match="crashed with signal 11"):
        next(outputs_of(small_onnx, []))
