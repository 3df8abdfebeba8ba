"""What only a GPU can show: listed where there is none; the checks themselves on host memory and onnxruntime, and each
one seen to fail."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("onnx")

from edgekit.device import Gpu, GpuSearch
from edgekit.errors import BuildError
from edgekit.runtime.cuda.host_device import HostDevice
from edgekit.runtime.ort import OrtBackend
from edgekit.selftest import selftest

NAMES = ["driver", "graph", "engine", "state", "kernels"]


class Played(OrtBackend):
    """onnxruntime where an engine would run: the "engine" is the ONNX itself. `wrong` spoils what it says."""

    wrong = 0.0

    def __init__(self, engine, flavour, specs, plugins=b"", carried=None, cache=None):
        assert flavour == "tensorrt_rtx"
        super().__init__(engine, "enable_all", specs, carried or {})

    def output(self, name):
        return super().output(name) + self.wrong


@pytest.fixture
def machine(monkeypatch):
    """A machine with a GPU that is played; returns its device."""
    gpu = GpuSearch((Gpu("Test GPU", "8.9", 8192, False),), "", "13.0")
    device = HostDevice()
    for module in ("edgekit.selftest", "edgekit.selftest.checks"):
        monkeypatch.setattr(f"{module}.find_gpus", lambda: gpu)
    monkeypatch.setattr("edgekit.selftest.checks.open_device", lambda: (device, "host memory"))
    monkeypatch.setattr("edgekit.selftest.checks._target", lambda: ("rtx", "tensorrt_rtx"))
    monkeypatch.setattr("edgekit.selftest.checks.TensorRTBackend", Played)
    monkeypatch.setattr("edgekit.build.build", lambda source, out, config: shutil.copy(source, out))
    monkeypatch.setattr("edgekit.plugins.bench.bench", lambda device: iter([]))
    return device


def outcomes() -> dict[str, tuple[str, str]]:
    return {check.name: (check.outcome, check.detail) for check in selftest().checks}


def test_without_a_gpu_all_of_it_is_listed_and_nothing_claimed(monkeypatch):
    monkeypatch.setattr("edgekit.selftest.find_gpus", lambda: GpuSearch((), "no driver"))
    found = selftest()
    assert [check.name for check in found.checks] == NAMES
    assert {check.outcome for check in found.checks} == {"not run"}
    assert {check.detail for check in found.checks} == {"no GPU here"}
    assert found.exit_code == 6


def test_with_one_each_check_says_what_it_found(machine):
    found = selftest()
    assert [check.outcome for check in found.checks] == ["passed"] * 5
    assert found.exit_code == 0
    assert "host memory" in found.checks[0].detail
    assert "largest difference" in found.checks[3].detail
    assert machine.memory == {}


def test_bytes_that_do_not_come_back_fail(machine, monkeypatch):
    monkeypatch.setattr(machine, "_copy", lambda target, source: target.fill(7))
    monkeypatch.setattr(machine, "memset", lambda target, size: None)
    found = outcomes()
    assert found["driver"] == ("failed", "expected the bytes that were sent to come back, found others")
    assert found["graph"][0] == "failed"
    assert selftest().exit_code == 1


def test_a_wrong_engine_fails(machine, monkeypatch):
    monkeypatch.setattr(Played, "wrong", np.float32(0.1))
    found = outcomes()
    assert found["engine"][0] == found["state"][0] == "failed"
    assert "of onnxruntime at batch 1, found" in found["engine"][1]


def test_a_state_that_is_not_carried_fails(machine, monkeypatch):
    monkeypatch.setattr(Played, "advance", lambda self: self.reset())
    found = outcomes()
    assert (found["engine"][0], found["state"][0]) == ("passed", "failed")


def test_what_is_not_there_is_not_run(machine, monkeypatch):
    def missing(*_):
        raise BuildError("expected a library of these sources, found none", "edgekit plugins build")

    machine.graphs = False
    monkeypatch.setattr("edgekit.plugins.bench.bench", missing)
    found = outcomes()
    assert found["graph"][0] == found["kernels"][0] == "not run"
    assert "pip install cuda-bindings" in found["graph"][1]
    assert "edgekit plugins build" in found["kernels"][1]
    assert selftest().exit_code == 0
