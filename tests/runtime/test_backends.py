"""Which backend opens a bundle, and why; what a GPU backend lacks here is said in one line."""

from __future__ import annotations

import importlib.util

import pytest

from edgekit.bundle import verify
from edgekit.device import Gpu, GpuSearch
from edgekit.errors import TargetError
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
    monkeypatch.setattr("edgekit.runtime.choice._installed", lambda module: True)
    assert choose(with_engine, "auto")[0].backend == "rtx"
    monkeypatch.setattr("edgekit.runtime.choice._installed", lambda module: module not in ("pycuda", "cuda.bindings"))
    assert "with its TensorRT and pycuda or cuda-bindings" in choose(with_engine, "auto")[0].reason
    monkeypatch.setattr("edgekit.device.find_gpus", gpu("7.5"))
    (choice,) = choose(with_engine, "auto")
    assert choice.backend == "ort"
    assert "no engine for compute capability 7.5" in choice.reason
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
