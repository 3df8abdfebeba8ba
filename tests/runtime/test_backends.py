"""Which backend opens a bundle, and why; what a GPU backend lacks here is said in one line."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace

import pytest

from edgekit.bundle import EngineEntry, read_manifest, verify
from edgekit.device import Gpu, GpuSearch
from edgekit.errors import IntegrityError, TargetError
from edgekit.runtime import Session
from edgekit.runtime.choice import choose


@pytest.fixture
def with_engine(lite0):
    return verify(lite0 / "bundle").manifest


@pytest.mark.slow  # exports EfficientNet-Lite0
def test_auto_picks_the_engine_of_this_gpu_and_says_why_not(with_engine, monkeypatch):
    def gpu(capability):
        return lambda: GpuSearch((Gpu("Test GPU", capability, 8192, False),), "", "13.0")

    monkeypatch.setattr("edgekit.device.find_gpus", gpu("8.9"))
    monkeypatch.setattr("edgekit.runtime.choice.installed", lambda module: True)
    assert choose(with_engine, "auto")[0].backend == "rtx"
    monkeypatch.setattr("edgekit.runtime.choice.installed", lambda module: module not in ("pycuda", "cuda.bindings"))
    assert "with its TensorRT and pycuda or cuda-bindings" in choose(with_engine, "auto")[0].reason
    monkeypatch.setattr("edgekit.device.find_gpus", gpu("7.5"))
    (choice,) = choose(with_engine, "auto")
    assert choice.backend == "ort"
    assert choice.reason.startswith("model.rtx.engine is for SM 8.6 and 8.9, TensorRT-RTX 1.")
    assert "this device is SM 7.5, TensorRT-RTX 1." in choice.reason
    monkeypatch.setattr("edgekit.device.find_gpus", lambda: GpuSearch((), "no driver at all"))
    assert choose(with_engine, "auto")[0].reason == "no GPU here: no driver at all"


@pytest.mark.slow  # exports EfficientNet-Lite0
def test_asking_for_an_engine_without_pycuda_is_one_line(lite0):
    if importlib.util.find_spec("pycuda"):
        pytest.skip("pycuda is installed here")
    with pytest.raises(TargetError) as error:
        Session.open(lite0 / "bundle", "rtx")
    assert "pip install pycuda" in str(error.value)
    assert error.value.exit_code == 6


def engines(*versions: str) -> tuple[EngineEntry, ...]:
    return tuple(EngineEntry(f"{version}.engine", "tensorrt_rtx", version, ("8.9",)) for version in versions)


def test_the_engine_of_the_installed_tensorrt_comes_first(small_bundle, monkeypatch):
    manifest = replace(read_manifest(small_bundle), engines=engines("1.6.0", "1.7.1", "1.8.0"))
    monkeypatch.setattr("edgekit.runtime.choice.installed_version", lambda flavour: "1.7.1")
    found = [choice.engine.file for choice in choose(manifest, "rtx")]
    assert found == ["1.7.1.engine", "1.6.0.engine", "1.8.0.engine"]


def test_an_engine_that_does_not_load_is_said_and_onnxruntime_takes_its_place(small_bundle, monkeypatch):
    """Only for auto: who asks for an engine is told."""
    manifest = replace(read_manifest(small_bundle), engines=engines("1.7.1"))
    gpu = GpuSearch((Gpu("Test GPU", "8.9", 8192, False),), "", "13.0")

    def refuses(*_):
        raise TargetError("expected a CUDA device, found one that is busy", "--backend ort")

    monkeypatch.setattr("edgekit.runtime.opening.read_signed", lambda path, trust: (manifest, ()))
    monkeypatch.setattr("edgekit.runtime.opening._verified", lambda path, manifest, choice, trust: verified)
    monkeypatch.setattr("edgekit.device.find_gpus", lambda: gpu)
    monkeypatch.setattr("edgekit.runtime.choice.installed", lambda module: True)
    monkeypatch.setattr("edgekit.runtime.trt.TensorRTBackend", refuses)
    found = verify(small_bundle, keep={"model.onnx"})
    verified = replace(found, contents=found.contents | {"1.7.1.engine": b""})
    with Session.open(small_bundle) as session:
        assert session.backend == "ort"
        assert session.reason == "no engine of the bundle loads here; expected a CUDA device, found one that is busy"
    with pytest.raises(TargetError, match="found one that is busy"):
        Session.open(small_bundle, "rtx")


def test_that_a_bundle_was_changed_is_worse_than_that_it_does_not_fit(small_bundle, tmp_path):
    bundle = shutil.copytree(small_bundle, tmp_path / "b")
    with pytest.raises(TargetError, match="expected an engine for trt in the bundle"):
        Session.open(bundle, "trt")
    model = bundle / "model.onnx"
    model.write_bytes(bytes([model.read_bytes()[0] ^ 1]) + model.read_bytes()[1:])
    with pytest.raises(IntegrityError, match="it was changed"):
        Session.open(bundle, "trt")
