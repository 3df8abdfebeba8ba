"""`inspect` tells what a file is by its content."""

from __future__ import annotations

import shutil

import pytest

from edgekit.build import build
from edgekit.configs import BuildConfig
from edgekit.errors import IntegrityError, ModelError
from edgekit.inspect import inspect


def test_an_onnx_model(small_onnx):
    found = inspect(small_onnx)
    assert found.kind == "ONNX model"
    assert found.facts["inputs"] == {"image": "float32[batch, 3, 8, 8]"}
    assert found.facts["opsets"] == {"ai.onnx": 20}
    assert found.facts["ops"] == {"Conv": 1, "Relu": 1, "GlobalAveragePool": 1, "Flatten": 1, "MatMul": 1}


def test_an_engine_is_known_by_its_bytes_and_told_by_its_report(small_onnx, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    report = build(small_onnx, tmp_path / "a.engine", BuildConfig(compute_capability=("8.6",)))
    found = inspect(tmp_path / "a.engine")
    assert found.kind == "TensorRT-RTX engine"
    assert found.facts["layers"] == len(report.layers)
    assert found.facts["compute_capabilities"] == ["8.6"]
    # A report beside other bytes says nothing about them.
    other = tmp_path / "b.engine"
    other.write_bytes((tmp_path / "a.engine").read_bytes() + b"\0")
    shutil.copy(tmp_path / "a.engine.json", tmp_path / "b.engine.json")
    assert "layers" not in inspect(other).facts


def test_a_bundle_and_its_reports(small_bundle, tmp_path):
    found = inspect(small_bundle)
    assert found.facts["verdict"] == "PASS (ort, cpu)"
    assert found.facts["digests"] == "all match"
    assert inspect(small_bundle / "reports" / "accuracy.json").kind == "report of validate"
    copy = tmp_path / "bundle"
    shutil.copytree(small_bundle, copy)
    (copy / "preprocess.json").write_text("{}")
    with pytest.raises(IntegrityError):
        inspect(copy)


def test_other_json_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(ModelError, match="found other JSON"):
        inspect(tmp_path / "a.json")
