"""New processes that open a model and answer, and what a handful of them allows to say."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from edgekit import fresh
from edgekit.budget import FAIL, INCONCLUSIVE, OF_A_PROCESS, PASS, parse_budget
from edgekit.errors import IntegrityError, SessionError
from edgekit.latency import judge_starts, samples_needed
from edgekit.latency.child import Request
from edgekit.latency.cold_start import cold_starts
from edgekit.latency.pinned import Pinned


def judged(budget: str, values: list[float]):
    (limit,) = parse_budget(budget)
    return judge_starts(limit, values)


def request_of(model: Path | bytes, outputs: tuple[str, ...] = ("logits",), batch: int = 1, **more) -> Request:
    asked = model if isinstance(model, bytes) else Pinned(model)
    return Request(asked, "ort", {"image": np.ones((batch, 3, 8, 8), np.float32)} | more, outputs)


def test_an_onnx_in_a_new_process(small_onnx):
    seen = []
    first, second = cold_starts(request_of(small_onnx.read_bytes()), 2, lambda *told: seen.append(told))
    for start in (first, second):
        assert 0 < start.open_s + start.first_s < start.seconds < 60
        assert 20 < start.peak_rss_mib < 150, "Python, NumPy and onnxruntime, and nothing of this process"
    assert seen == [("starting processes", 0, 2), ("starting processes", 1, 2)]


def test_a_bundle_in_a_new_process(small_bundle, monkeypatch, tmp_path):
    """From another folder, in which a file has the name of one of Python's own."""
    (tmp_path / "random.py").write_text("raise SystemExit('not ours')\n")
    monkeypatch.chdir(tmp_path)
    (start,) = cold_starts(request_of(small_bundle, batch=2), 1)
    assert 0 < start.first_s < start.open_s < start.seconds


def test_what_a_model_needs_shows_in_its_memory(tmp_path):
    """64 MiB of weights more."""
    onnx = pytest.importorskip("onnx")
    peaks = []
    for rows in (1, 1 << 12):
        weight = onnx.numpy_helper.from_array(np.ones((rows, 1 << 12), np.float32), "w")
        graph = onnx.helper.make_graph(
            [
                onnx.helper.make_node("ReduceMax", ["w"], ["m"], keepdims=0),
                onnx.helper.make_node("Add", ["x", "m"], ["y"]),
            ],
            "g",
            [onnx.helper.make_tensor_value_info("x", 1, [1])],
            [onnx.helper.make_tensor_value_info("y", 1, [1])],
            [weight],
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
        asked = Request(model.SerializeToString(), "ort", {"x": np.ones(1, np.float32)}, ("y",))
        peaks.append(cold_starts(asked, 1)[0].peak_rss_mib)
    assert peaks[1] - peaks[0] > 60


def test_inputs_may_have_any_name(tmp_path):
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Identity", ["file"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [value("file", 1, [1])], [value("y", 1, [1])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    assert len(cold_starts(Request(model.SerializeToString(), "ort", {"file": np.ones(1, np.float32)}, ("y",)), 1)) == 1


@pytest.mark.parametrize(("model", "kind"), [(b"no model", SessionError), ("damaged", IntegrityError)])
def test_a_process_that_fails_says_why(model, kind, tmp_path):
    if model == "damaged":
        model = tmp_path / "bundle"
        model.mkdir()
    with pytest.raises(kind, match="expected a new process to open the model and answer, found: ") as error:
        cold_starts(request_of(model), 1)
    assert "found: exit code" not in error.value.problem, "an error of ours comes as it is"


def test_a_process_that_crashes_says_so(small_onnx, monkeypatch):
    monkeypatch.setattr(fresh, "START", "open('/nothing')")
    with pytest.raises(SessionError, match=r"found: exit code 1, FileNotFoundError: .*; next: --cold-starts 0"):
        cold_starts(request_of(small_onnx.read_bytes()), 1)


def test_lines_that_come_at_once_are_both_read(small_onnx, monkeypatch):
    """A quick model has answered six times before anybody reads: a program that only prints stands in for it."""
    said = r"""{"open_s": 0.1, "first_s": 0.2}\n{"peak_rss_mib": 30.0}\n"""
    monkeypatch.setattr(fresh, "START", f"import sys; sys.stdout.write('{said}')")
    (start,) = cold_starts(request_of(small_onnx.read_bytes()), 1)
    assert (start.open_s, start.first_s, start.peak_rss_mib) == (0.1, 0.2, 30.0)


def test_what_a_library_prints_gets_not_between(small_onnx, monkeypatch):
    noisy = (
        "import sys, os; sys.path.append(sys.argv[1]); import edgekit.latency.cold_start as room; real = room._answer; "
        "room._answer = lambda *given: (os.write(1, b'loading kernels\\n'), real(*given)); room.child(sys.argv[3])"
    )
    monkeypatch.setattr(fresh, "START", noisy)
    assert len(cold_starts(request_of(small_onnx.read_bytes()), 1)) == 1


def test_five_of_five_are_a_pass():
    assert judged("cold_start_s<=2", [1.0] * 4).outcome == INCONCLUSIVE
    assert judged("cold_start_s<=2", [1.0] * 4).missing == 1
    found = judged("cold_start_s<=2", [1.0, 1.3, 1.2, 1.9, 1.1])
    assert (found.outcome, found.value, found.low, found.high) == (PASS, 1.2, 1.0, 1.9)
    assert judged("cold_start_s<=2", [1.0, 1.3, 1.2, 2.1, 1.1]).outcome == INCONCLUSIVE
    assert judged("cold_start_s<=2", [2.1, 2.2, 2.3, 2.1, 9.0]).outcome == FAIL
    assert judged("peak_rss_mib<=80", [75.5, 75.6, 75.5, 75.7, 80.0]).outcome == PASS


def test_a_start_that_is_as_often_slow_as_not_hardly_ever_passes():
    """The median is exactly the limit: of the 32 ways in which five fall on either side, one is a PASS, one a FAIL."""
    outcomes = [judged("cold_start_s<=1", list(values)).outcome for values in itertools.product([0.5, 1.5], repeat=5)]
    assert (outcomes.count(PASS), outcomes.count(FAIL), outcomes.count(INCONCLUSIVE)) == (1, 1, 30)


def test_promises_of_a_process_need_no_requests():
    assert samples_needed(parse_budget("cold_start_s<=2,peak_rss_mib<=80")) == {}
    assert OF_A_PROCESS == ("cold_start_s", "peak_rss_mib")
