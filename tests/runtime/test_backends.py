"""A Session needs six methods of whoever computes; what a GPU backend lacks here is said in one line."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgekit.bundle import VerifiedBundle, verify
from edgekit.device import Gpu, GpuSearch
from edgekit.errors import ShapeError, TargetError
from edgekit.runtime import Session
from edgekit.runtime.choice import Choice, choose
from edgekit.runtime.trt import load_plugins


class Doubler:
    """Computes logits = the first five values of each picture, twice."""

    name, device = "fake", "nowhere"

    def bind(self, inputs, outputs):
        self.arrays = {name: np.zeros(shape, np.float32) for name, shape in {**inputs, **outputs}.items()}

    def input(self, name):
        return self.arrays[name]

    output = input

    def enqueue(self):
        flat = self.arrays["image"].reshape(len(self.arrays["image"]), -1)
        self.arrays["logits"][...] = 2 * flat[:, :5]

    def synchronise(self, timeout_s):
        return True

    def close(self): ...


@pytest.fixture
def verified(small_bundle) -> VerifiedBundle:
    return verify(small_bundle)


def test_a_backend_is_faked_in_a_few_lines(verified):
    with Session(verified, Choice("fake", None, "a test"), Doubler()) as session:
        image = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
        np.testing.assert_array_equal(session.run({"image": image})["logits"], 2 * image.reshape(2, -1)[:, :5])
        with pytest.raises(ShapeError):
            session.set_shape("image", (2, 3, 9, 8))


@pytest.fixture
def with_engine(lite0):
    return verify(lite0 / "bundle").manifest


@pytest.mark.slow  # exports EfficientNet-Lite0
def test_auto_picks_the_engine_of_this_gpu_and_says_why_not(with_engine, monkeypatch):
    def gpu(capability):
        return lambda: GpuSearch((Gpu("Test GPU", capability, 8192, False),), "", "13.0")

    monkeypatch.setattr("edgekit.device.find_gpus", gpu("8.9"))
    monkeypatch.setattr("edgekit.runtime.choice._installed", lambda module: True)
    assert choose(with_engine, "auto").backend == "rtx"
    monkeypatch.setattr("edgekit.runtime.choice._installed", lambda module: module != "pycuda")
    assert "with its TensorRT and pycuda" in choose(with_engine, "auto").reason
    monkeypatch.setattr("edgekit.device.find_gpus", gpu("7.5"))
    choice = choose(with_engine, "auto")
    assert choice.backend == "ort"
    assert "no engine for compute capability 7.5" in choice.reason
    monkeypatch.setattr("edgekit.device.find_gpus", lambda: GpuSearch((), "no driver at all"))
    assert choose(with_engine, "auto").reason == "no GPU here: no driver at all"


@pytest.mark.slow  # exports EfficientNet-Lite0
def test_asking_for_an_engine_without_pycuda_is_one_line(lite0):
    if importlib.util.find_spec("pycuda"):
        pytest.skip("pycuda is installed here")
    with pytest.raises(TargetError) as error:
        Session.open(lite0 / "bundle", "rtx")
    assert "pip install pycuda" in str(error.value)
    assert error.value.exit_code == 6


def test_the_plugins_of_a_bundle_are_loaded_from_the_bytes_that_were_verified():
    """A file of this process alone, gone afterwards; TensorRT itself is a stand-in."""
    seen = []

    def load_library(path):
        seen.append((path, Path(path).read_bytes(), Path(path).parent.stat().st_mode & 0o077))
        return None if b"bad" in seen[-1][1] else object()

    registry = SimpleNamespace(load_library=load_library)
    trt = SimpleNamespace(get_plugin_registry=lambda: registry, __version__="10.3.0")
    load_plugins(trt, b"")
    assert seen == []
    load_plugins(trt, b"a library")
    path, content, others = seen[0]
    assert (content, others, Path(path).exists()) == (b"a library", 0, False)
    with pytest.raises(TargetError, match=r"expected TensorRT 10\.3\.0 to load the bundle's plugins"):
        load_plugins(trt, b"bad")
