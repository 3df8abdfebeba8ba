"""Models are judged in a process of their own: a crash there is one line here."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgekit.errors import ModelError
from edgekit.judge import Judge, outputs_of


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


@pytest.mark.parametrize(
    "names", [("file", "y"), ("x", "file"), ("allow_pickle", "y"), ("/a/b:0", "é y"), ("x.npy", "../y")]
)
def test_any_name_comes_back_as_it_was(tmp_path, names):
    """`np.savez` has parameters of its own, which names must not meet; the oracle is Relu by hand."""
    onnx = pytest.importorskip("onnx")
    x, y = (onnx.helper.make_tensor_value_info(name, 1, ["n", 2]) for name in names)
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", [names[0]], [names[1]])], "g", [x], [y])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(made, tmp_path / "m.onnx")
    (found,) = outputs_of(tmp_path / "m.onnx", [{names[0]: np.array([[-1, 2]], np.float32)}])
    assert {name: array.tolist() for name, array in found.items()} == {names[1]: [[0, 2]]}


def test_a_model_without_a_name(small_onnx):
    """An open file that was removed: only a process that inherits it can read it."""
    with tempfile.TemporaryFile() as file:
        file.write(small_onnx.read_bytes())
        file.flush()
        path, batch = Path(f"/proc/self/fd/{file.fileno()}"), {"image": np.ones((1, 3, 8, 8), np.float32)}
        with Judge(path, "mine", (file.fileno(),)) as judge:
            found = judge.run(batch)["logits"]
        np.testing.assert_array_equal(found, next(outputs_of(small_onnx, [batch]))["logits"])
        with Judge(path, "mine") as judge, pytest.raises(ModelError, match=r"onnxruntime refuses mine: "):
            judge.load()


def test_inputs_that_do_not_fit_are_one_line(small_onnx):
    with pytest.raises(ModelError, match="onnxruntime refuses") as error:
        next(outputs_of(small_onnx, [{"image": np.zeros((1, 3, 8, 9), np.float32)}]))
    assert "\n" not in str(error.value)


def test_nothing_is_left_behind_and_no_batch_gives_no_output(small_onnx, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    started = []
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(real(*a, **k)) or started[-1])
    assert list(outputs_of(small_onnx, [])) == []
    outputs = outputs_of(small_onnx, [{"image": np.zeros((1, 3, 8, 8), np.float32)}] * 2)
    next(outputs)
    assert started[-1].poll() is None
    outputs.close()
    assert [process.poll() for process in started] == [-9, -9]
    assert list(tmp_path.iterdir()) == []


def test_a_users_random_py_does_not_stand_in_for_pythons(small_onnx, tmp_path, monkeypatch):
    (tmp_path / "random.py").write_text("raise SystemError('the wrong random')")
    monkeypatch.chdir(tmp_path)
    assert "logits" in next(outputs_of(small_onnx, [{"image": np.zeros((1, 3, 8, 8), np.float32)}]))
