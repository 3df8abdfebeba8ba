"""The floor in a report of `edgekit bench`: against the times that stand beside it, and on a clock that is wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgekit.bench import bench, floor, report_lines
from edgekit.bench.floor import measured_floor
from edgekit.bench.measuring import measured
from edgekit.bench.requests import find_requests
from edgekit.bench.serving import serving
from edgekit.configs import BenchConfig, ValidateConfig
from edgekit.errors import ModelError
from edgekit.latency import Timer
from edgekit.latency.doubts import DOUBTS
from edgekit.targets import device
from edgekit.validate.subject import open_subject

# Of tests/conftest.py's network: [6,3,3,3] at 8 x 8, then [6,5].
MACS = 6 * 27 * 64 + 6 * 5
WEIGHTS = 4 * (6 * 27 + 6 * 5)


def test_the_work_of_a_request(small_onnx, small_data, tmp_path):
    report = bench(small_onnx, tmp_path / "r.json", BenchConfig(str(small_data), requests=30, cold_starts=0))
    table = report.to_json()["floor"]
    assert table["work"]["flops"] == {"fp32": 2 * MACS}
    sizes = [table["work"][f"{name}_bytes"] for name in ("weight", "input", "output")]
    assert sizes == [WEIGHTS, 4 * 3 * 64, 4 * 5]
    assert table["measured_ms"] == report.stages["compute"].p50_ms.value
    assert 0 < table["least_ms"] <= table["measured_ms"]
    assert table["achieved"]["gflops_per_s"] == pytest.approx(2 * MACS / table["measured_ms"] / 1e6)
    assert table["achieved"]["gb_per_s"] == pytest.approx(sum(sizes) / table["measured_ms"] / 1e6)
    assert [table[key] for key in ("bound_ms", "by", "device", "share")] == [None] * 4
    assert table["source"] == "not known for a CPU"
    lines = list(report_lines(report))
    assert any(line.startswith("work: 0.0208 MFLOP, at least 0.00156 MB; ") for line in lines)
    assert "  bound: not known for a CPU" in lines


def test_the_work_is_that_of_the_batch_that_was_measured(small_onnx, small_data, tmp_path):
    import onnx

    model = onnx.load(small_onnx)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, tmp_path / "four.onnx")
    config = BenchConfig(str(small_data), requests=10, cold_starts=0)
    found = bench(tmp_path / "four.onnx", tmp_path / "r.json", config).floor
    assert found is not None
    assert found.work.total_flops == 4 * 2 * MACS
    assert found.work.weight_bytes == WEIGHTS


def test_shapes_that_onnx_cannot_infer_are_no_error(small_onnx, small_data, tmp_path, monkeypatch):
    def fails(*_: object) -> None:
        raise ModelError("expected shapes that fit the model, found: others")

    monkeypatch.setattr(floor, "model_work", fails)
    report = bench(small_onnx, tmp_path / "r.json", BenchConfig(str(small_data), requests=10, cold_starts=0))
    assert report.floor is None
    assert report.to_json()["floor"] is None
    assert not any("bound" in line or "work" in line for line in report_lines(report))


def test_a_bundle_whose_clock_is_wrong_does_not_pass(small_onnx, small_data, tmp_path, monkeypatch):
    """onnxruntime played as a GPU of 1 byte a second: what it measures is below that, and the report says so."""
    slow = dataclasses.replace(device("agx-orin-64"), bandwidth_gb_s=1e-9, cache_mb=0.0)

    def as_a_gpu(subject, requests, server, run):
        played = dataclasses.replace(server, backend="trt", device="Orin")
        return measured_floor(subject, requests, played, run)

    monkeypatch.setattr(floor, "known_device", lambda *_: slow)
    monkeypatch.setattr("edgekit.bench.measured_floor", as_a_gpu)
    allowed = tuple(name for name in DOUBTS if name != "below-bound")
    config = BenchConfig(str(small_data), requests=60, cold_starts=0, budget="p50_ms<=60000", allow=allowed)
    report = bench(small_onnx, tmp_path / "r.json", config)
    assert report.verdict.startswith("INCONCLUSIVE")
    assert [doubt.name for doubt in report.doubts if doubt.name == "below-bound"] == ["below-bound"]
    assert report.findings[0].doubts == ("below-bound",)
    assert any("the measurement is wrong" in line for line in report.warnings)
    allowed_too = dataclasses.replace(config, allow=tuple(DOUBTS))
    assert bench(small_onnx, tmp_path / "s.json", allowed_too).verdict.startswith("PASS")


def test_the_device_of_a_jetson_is_found_by_its_files(small_onnx, small_data, tmp_path):
    from tests.device.trees import ORIN_NANO_JETPACK_62

    for name, content in ORIN_NANO_JETPACK_62.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    subject = open_subject(Path(small_onnx), ValidateConfig())
    requests = find_requests(subject, str(small_data))
    with serving(subject, "ort", requests) as server:
        run = measured(server, "closed", (), BenchConfig(str(small_data), requests=5), Timer(), lambda *_: None)
    found = measured_floor(subject, requests, dataclasses.replace(server, backend="trt", device="Orin"), run, tmp_path)
    assert found is not None
    assert found.device == "Jetson Orin Nano 8GB"
    empty = dataclasses.replace(run, times={"compute": np.zeros(0)})
    assert measured_floor(subject, requests, server, empty) is None
