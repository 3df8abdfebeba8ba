"""Verdicts: PASS, FAIL and INCONCLUSIVE with their codes, on real digits, judged independently by scikit-learn."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from edgekit.budget import parse_budget
from edgekit.configs import DeployConfig, ValidateConfig
from edgekit.deploy import deploy
from edgekit.errors import DataError, IntegrityError, ModelError, OutputError, RecipeError, UsageError
from edgekit.latency import conditions
from edgekit.latency.reported import read_report
from edgekit.validate import latency, validate

pytest.importorskip("onnx")


def judged(digits, tmp_path, model: str, budget: str, **more):
    asked = {"reference": digits / "good.onnx", "data": str(digits / "data.npz"), "labels": digits / "labels.npy"}
    return validate(digits / model, tmp_path / "report.json", ValidateConfig(budget=budget, **(asked | more)))


def scores(model, digits) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    with np.load(digits / "data.npz") as archive:
        return session.run(["logits"], {"image": archive["image"]})[0]


def test_the_figures_are_scikit_learns(digits, tmp_path):
    metrics = pytest.importorskip("sklearn.metrics")
    report = judged(digits, tmp_path, "near.onnx", "sqnr_db>=10")
    labels, wanted, found = (
        np.load(digits / "labels.npy"),
        *(scores(digits / m, digits) for m in ("good.onnx", "near.onnx")),
    )
    accuracy = report.accuracy
    assert accuracy.scored == "logits"
    assert accuracy.top1.found == pytest.approx(metrics.accuracy_score(labels, found.argmax(1)))
    assert accuracy.top1.reference == pytest.approx(metrics.accuracy_score(labels, wanted.argmax(1)))
    assert accuracy.top5.found == pytest.approx(metrics.top_k_accuracy_score(labels, found, k=5))
    assert accuracy.agreement["logits"] == pytest.approx(metrics.accuracy_score(wanted.argmax(1), found.argmax(1)))
    noise = 10 * math.log10((wanted.astype(float) ** 2).sum() / ((wanted.astype(float) - found) ** 2).sum())
    assert accuracy.sqnr_db["logits"] == pytest.approx(noise, abs=0.01)
    assert accuracy.cosine["double"] == pytest.approx(metrics.pairwise.cosine_similarity(
        wanted.reshape(1, -1), found.reshape(1, -1)
    )[0, 0], abs=1e-5)  # fmt: skip
    assert (report.samples, report.data, report.exit_code) == (300, "300 samples of data.npz", 0)


@pytest.mark.parametrize(
    ("model", "budget", "code", "outcomes"),
    [
        ("good.onnx", "sqnr_db>=60,agreement>=1,top1_drop<=0,top5>=0.9,cosine>=0.999", 0, ["PASS"] * 5),
        ("near.onnx", "sqnr_db>=10,top1_drop<=0.05", 0, ["PASS", "PASS"]),
        ("near.onnx", "sqnr_db>=90,top1_drop<=0.05", 3, ["FAIL", "PASS"]),
        ("wrong.onnx", "top1_drop<=0.05", 3, ["FAIL"]),
        ("wrong.onnx", "agreement>=0.5,p99_ms<=0.000001", 3, ["FAIL", "FAIL"]),
        ("good.onnx", "sqnr_db>=60,p99_ms<=0.000001", 4, ["PASS", "FAIL"]),
        ("good.onnx", "p50_ms<=60000", 0, ["PASS"]),
        ("wrong.onnx", "p50_ms<=60000,sqnr_db>=10", 3, ["PASS", "FAIL"]),
    ],
)
def test_the_verdict_and_its_code(digits, tmp_path, model, budget, code, outcomes):
    report = judged(digits, tmp_path, model, budget, duration=5.0)
    assert (report.exit_code, [finding.outcome for finding in report.findings]) == (code, outcomes)
    assert report.verdict == ("PASS (ort, cpu)" if code == 0 else "FAIL (ort, cpu)")
    assert [str(finding.limit) for finding in report.findings] == [str(limit) for limit in parse_budget(budget)]


def test_too_short_a_run_names_the_missing_samples(digits, tmp_path):
    report = judged(digits, tmp_path, "good.onnx", "p99_ms<=60000", requests=40)
    (finding,) = report.findings
    assert (report.exit_code, report.verdict) == (5, "INCONCLUSIVE (ort, cpu)")
    assert report.latency.summary.n == 40
    assert finding.missing >= 299 - 40  # and more where the samples depend on each other
    assert re.search(r"INCONCLUSIVE, found .*, about \d+ samples missing", str(finding))


def test_the_report_keeps_every_latency_and_no_sample(digits, tmp_path):
    report = judged(digits, tmp_path, "near.onnx", "sqnr_db>=10,deadline_miss<=0.5", fps=200, requests=60)
    table = json.loads((tmp_path / "report.json").read_text())
    latency = table["latency"]
    assert (latency["mode"], latency["deadline_ms"], latency["shapes"]) == ("fixed-rate", 5.0, {"image": [1, 64]})
    assert len(latency["latencies_ms"]) == latency["summary"]["n"] == 60
    assert np.median(latency["latencies_ms"]) == pytest.approx(latency["summary"]["p50_ms"]["value"], rel=0.5)
    assert report.latency.summary.deadline_miss.high <= 1
    assert re.fullmatch("[0-9a-f]{64}", table["data_sha256"])
    assert "NaN" not in (tmp_path / "report.json").read_text()
    assert (tmp_path / "report.json").stat().st_size < 20_000


@pytest.mark.parametrize(("allow", "code"), [((), 5), (("busy",), 0), (("hot",), 5)])
def test_a_doubt_keeps_a_pass_back_until_it_is_allowed(digits, tmp_path, monkeypatch, allow, code):
    quiet = conditions.Moment(0.1, {}, None, {}, {}, ())
    busy = conditions.machine(tmp_path)
    busy = replace(busy, environment=replace(busy.environment, load=7.5), largest_power_mode=None, gpu_users=())
    monkeypatch.setattr(latency, "machine", lambda: busy)
    monkeypatch.setattr(latency, "moment", lambda: quiet)
    asked = {"budget": "sqnr_db>=10,deadline_miss<=0.9", "fps": 100, "requests": 60, "allow": allow}
    report = judged(digits, tmp_path, "near.onnx", **asked)
    assert report.exit_code == code
    assert [item.outcome for item in report.findings] == ["PASS", "PASS" if code == 0 else "INCONCLUSIVE"]
    said = "the machine is busy: load average of 7.50 a core" + (" (--allow busy)" if code else "")
    assert said in report.warnings
    table = json.loads((tmp_path / "report.json").read_text())["latency"]
    assert [item["name"] for item in table["doubts"]] == ["busy"]
    digest = hashlib.sha256((digits / "near.onnx").read_bytes()).hexdigest()
    assert table["environment"]["digests"] == {"model": digest}
    assert read_report(tmp_path / "report.json").conditions["model's SHA-256"] == digest


@pytest.mark.parametrize("taken", ["good.onnx", "data.npz", "labels.npy"])
def test_nothing_that_is_read_is_written(digits, tmp_path, taken):
    for name in ("good.onnx", "near.onnx", "data.npz", "labels.npy"):
        (tmp_path / name).write_bytes((digits / name).read_bytes())
    before = (tmp_path / taken).read_bytes()
    with pytest.raises(OutputError, match="expected OUT to be another file than"):
        judged(tmp_path, tmp_path, "near.onnx", "sqnr_db>=10", html=tmp_path / taken)
    assert (tmp_path / taken).read_bytes() == before
    assert not (tmp_path / "report.json").exists()


def test_only_a_known_doubt_is_allowed(digits, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'busy'"):
        judged(digits, tmp_path, "near.onnx", "sqnr_db>=10", allow=("bussy",))


@pytest.mark.parametrize(
    ("more", "budget", "error", "says"),
    [
        ({"labels": None}, "top1_drop<=0.01", UsageError, "expected labels to judge top1_drop by, found none"),
        ({}, "deadline_miss<=0.1", UsageError, "expected a frame rate"),
        ({}, "top1_dorp<=0.1", RecipeError, "did you mean 'top1_drop'"),
        ({}, "perplexity<=4", DataError, "expected labels that perplexity can be judged by"),
        ({"reference": None}, "sqnr_db>=1", UsageError, "expected a reference and data"),
        ({"backend": "trt"}, "sqnr_db>=1", UsageError, "expected a bundle for backend trt"),
    ],
)
def test_what_cannot_be_judged_is_refused(digits, tmp_path, more, budget, error, says):
    with pytest.raises(error, match=says) as caught:
        judged(digits, tmp_path, "near.onnx", budget, **more)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_labels_that_do_not_fit(digits, tmp_path):
    np.save(tmp_path / "long.npy", np.zeros(301, np.int64))
    np.save(tmp_path / "high.npy", np.full(300, 10))
    np.save(tmp_path / "rows.npy", np.zeros((300, 4), np.int64))
    for name, says in (("long", "a label for each of"), ("high", "found 10"), ("rows", "found \\[4, 4\\]")):
        with pytest.raises(DataError, match=says):
            judged(digits, tmp_path, "near.onnx", "top1>=0.1", labels=tmp_path / f"{name}.npy")


def test_a_table_of_labels_says_the_same(digits, tmp_path):
    found = [
        judged(digits, tmp_path, "near.onnx", "top1>=0.5", labels=digits / f"labels.{kind}").accuracy.top1
        for kind in ("npy", "csv")
    ]
    assert found[0] == found[1]


def test_a_reference_of_another_network_is_refused(digits, small_onnx, tmp_path):
    with pytest.raises(ModelError, match="expected the reference"):
        judged(digits, tmp_path, "good.onnx", "sqnr_db>=1", reference=small_onnx)


def test_data_that_comes_only_once(digits, tmp_path, monkeypatch):
    """Each batch goes to both models: a generator that never yields the same twice is judged right."""
    (tmp_path / "stream.py").write_text(
        "import numpy as np\nRANDOM = np.random.default_rng(0)\n"
        "def samples():\n    for size in (3, 7, 1):\n        yield {'image': RANDOM.random((size, 64), np.float32)}\n"
    )
    report = judged(
        digits, tmp_path, "good.onnx", "sqnr_db>=100", data=f"{tmp_path / 'stream.py'}:samples", labels=None
    )
    assert (report.exit_code, report.samples) == (0, 11)


def test_data_that_cannot_be_read_again(digits, tmp_path):
    """Latency is measured on what was judged: a second call of the function would find nothing."""
    (tmp_path / "once.py").write_text(
        "import numpy as np\nLEFT = iter([{'image': np.ones((5, 64), np.float32)}])\ndef samples():\n    return LEFT\n"
    )
    once = f"{tmp_path / 'once.py'}:samples"
    report = judged(digits, tmp_path, "good.onnx", "p50_ms<=60000", data=once, labels=None, requests=20)
    assert (report.samples, report.latency.shapes) == (5, {"image": [1, 64]})


def test_few_samples_are_warned_of(digits, tmp_path):
    report = judged(digits, tmp_path, "near.onnx", "top1_drop<=0.5", samples=10)
    assert any("top1_drop on 10 samples only: one of them is 10%" in line for line in report.warnings)


def test_a_bundle_is_judged_as_it_ships(digits, tmp_path):
    config = DeployConfig("cpu", str(digits / "data.npz"), precision="fp16", labels=digits / "labels.npy",
                          budget="top1_drop<=0.02,sqnr_db>=40,p50_ms<=60000")  # fmt: skip
    made = deploy(str(digits / "good.onnx"), tmp_path, config)
    assert made.exit_code == 0
    assert made.latency is not None
    report = validate(
        tmp_path / "bundle",
        tmp_path / "again.json",
        ValidateConfig(digits / "good.onnx", str(digits / "data.npz"), "sqnr_db>=40,p50_ms<=60000", requests=1000),
    )
    assert report.accuracy.sqnr_db == made.accuracy.sqnr_db
    assert (report.verdict, report.backend) == ("PASS (ort, cpu, fp16 emulated)", "ort, cpu, fp16 emulated")
    (tmp_path / "bundle" / "model.onnx").write_bytes(b"changed")
    with pytest.raises(IntegrityError, match=r"expected \d+ bytes in"):
        validate(
            tmp_path / "bundle", tmp_path / "no.json", ValidateConfig(digits / "good.onnx", str(digits / "data.npz"))
        )
    assert not (tmp_path / "no.json").exists()


def test_latency_decides_over_the_bundle_too(digits, tmp_path):
    config = DeployConfig("cpu", str(digits / "data.npz"), precision="fp32", budget="p50_ms<=0.000001")
    report = deploy(str(digits / "good.onnx"), tmp_path, config)
    assert (report.exit_code, report.verdict) == (4, "FAIL (ort, cpu)")
    assert not (tmp_path / "bundle").exists()
