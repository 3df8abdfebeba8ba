"""Other models in processes of their own while one is measured."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from edgekit import fresh
from edgekit.errors import SessionError, UsageError
from edgekit.latency import child
from edgekit.latency.beside import Company, beside, parse_company
from edgekit.latency.child import Request
from edgekit.latency.pinned import Pinned


def request_of(model: Path | bytes, batch: int = 1) -> Request:
    asked = model if isinstance(model, bytes) else Pinned(model)
    return Request(asked, "ort", {"image": np.ones((batch, 3, 8, 8), np.float32)}, ("logits",))


@pytest.mark.parametrize(
    ("text", "source", "fps"),
    [
        ("bundle", "bundle", None),
        ("out/bundle@10", "out/bundle", 10.0),
        ("user@host/bundle@0.5", "user@host/bundle", 0.5),
    ],
)
def test_a_rate_stands_behind_the_last_at(text, source, fps):
    assert parse_company(text) == Company(Path(source), fps)


def test_a_file_that_has_an_at_in_its_name_is_that_file(tmp_path):
    (tmp_path / "model@10").mkdir()
    assert parse_company(f"{tmp_path}/model@10") == Company(tmp_path / "model@10", None)


@pytest.mark.parametrize(
    "text", ["", "@5", "bundle@", "bundle@fast", "bundle@0", "bundle@-3", "bundle@nan", "bundle@inf"]
)
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(UsageError, match=r"expected a model, or a model@rate, .*; next: --beside SOURCE\[@FPS\]"):
        parse_company(text)


def test_two_models_run_until_they_are_told_to_end(small_onnx, small_bundle):
    asked = [
        (Company(small_onnx, None), request_of(small_onnx.read_bytes())),
        (Company(small_bundle, 50.0), request_of(small_bundle, batch=2)),
    ]
    with beside(asked) as reports:
        assert reports == []
        begin = time.perf_counter()
        time.sleep(0.5)
        seconds = time.perf_counter() - begin
    busy, paced = reports
    assert (busy.source, busy.fps, paced.source, paced.fps) == (small_onnx, None, small_bundle, 50.0)
    # The first begins earlier, while the second warms up; neither knows at once that the time is over.
    assert busy.answered > paced.answered >= 1
    assert paced.per_s < 60  # on a busy machine it may be less
    assert busy.per_s * seconds <= busy.answered + 1
    assert busy.summary.n == min(busy.answered, 100_000)
    assert 0 < busy.summary.p50_ms.value < 1e3
    assert str(paced).startswith(f"{small_bundle}, 50 a second: {paced.answered} answers, ")


def test_a_model_that_is_none_is_named(small_onnx, tmp_path):
    asked = [(Company(small_onnx, None), request_of(b"no model"))]
    with (
        pytest.raises(SessionError, match=f"expected {small_onnx} to run beside until the end, found: .*--beside"),
        beside(asked),
    ):
        raise AssertionError("it began")


def test_one_that_dies_meanwhile_is_an_error(small_onnx, monkeypatch):
    processes = []
    popen = child.subprocess.Popen
    monkeypatch.setattr(child.subprocess, "Popen", lambda *a, **k: processes.append(popen(*a, **k)) or processes[-1])
    with (
        pytest.raises(SessionError, match="to run beside until the end, found: exit code -9"),
        beside([(Company(small_onnx, None), request_of(small_onnx.read_bytes()))]),
    ):
        processes[0].kill()
        processes[0].wait(60)


def test_an_error_of_the_measurement_leaves_no_process(small_onnx, monkeypatch):
    processes = []
    popen = child.subprocess.Popen
    monkeypatch.setattr(child.subprocess, "Popen", lambda *a, **k: processes.append(popen(*a, **k)) or processes[-1])
    with (
        pytest.raises(ZeroDivisionError),
        beside([(Company(small_onnx, None), request_of(small_onnx.read_bytes()))]),
    ):
        raise ZeroDivisionError
    (process,) = processes
    assert process.returncode == -9
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_late_requests_count_from_when_they_were_due(small_onnx, monkeypatch):
    """A model of 10 ms at 1000 a second: each has waited longer than the last."""
    slow = (
        "import sys; sys.path.append(sys.argv[1]); import contextlib, time, edgekit.latency.beside as room; "
        "room.opened = contextlib.contextmanager(lambda *given: iter([lambda: time.sleep(0.01)])); "
        "room.warm_up = lambda run: None; room.child(sys.argv[3])"
    )
    monkeypatch.setattr(fresh, "START", slow)
    with beside([(Company(small_onnx, 1000.0), request_of(small_onnx.read_bytes()))]) as reports:
        time.sleep(0.5)
    (found,) = reports
    lasted_ms = 1e3 * found.answered / found.per_s
    assert found.summary.p99_ms.value == pytest.approx(lasted_ms - found.answered, rel=0.2)
