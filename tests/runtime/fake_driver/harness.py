"""The pytest plugin of the child processes: the fake driver's numbers, the stand-in, and nothing left after a test."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekit.runtime.ort import OrtBackend
from edgekit.runtime.trt import TensorRTBackend
from tests.runtime.fake_driver import models, stand_in

SETTINGS = {"capability": 87, "total_mib": 1024, "lateness": 1}
LEFT = ("bytes", "host_bytes", "allocations", "contexts", "streams", "events", "graphs", "depth")
WRONG = ("misuse", "would_block", "left_to_driver", "pageable")
PYCUDA = os.environ["EDGEKIT_CUDA"] == "pycuda"


class Driver:
    """The numbers of the fake driver that this process has loaded, all at zero."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        self._library.fake_get.restype = ctypes.c_long
        self._library.fake_set.argtypes = (ctypes.c_char_p, ctypes.c_long)
        self._library.fake_reset()
        self._allowed: dict[str, int | None] = {}

    def get(self, name: str) -> int:
        """A setting or a counter."""
        return self._library.fake_get(name.encode())

    def set(self, **numbers: int) -> None:
        """Change some."""
        for name, value in numbers.items():
            assert self._library.fake_set(name.encode(), value) == 0, name

    def allow(self, *names: str, **numbers: int) -> None:
        """What this test leaves on purpose: so much, or whatever it is."""
        self._allowed |= dict.fromkeys(names) | numbers

    def left(self) -> dict[str, int]:
        """All that is not zero and should be."""
        found = {name: self.get(name) for name in (*LEFT, *WRONG)}
        return {name: number for name, number in found.items() if self._allowed.get(name, 0) not in (None, number)}


@pytest.fixture(autouse=True)
def driver() -> Iterator[Driver]:
    """The driver at its settings; after the test nothing may be left, wherever it was made."""
    fake = Driver()
    fake.set(**SETTINGS)
    yield fake
    assert fake.left() == {}


@pytest.fixture(autouse=True)
def tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in, and a cache folder of this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stand_in.install()


@pytest.fixture(params=["discrete", "integrated"])
def kind(request: pytest.FixtureRequest, driver: Driver) -> str:
    """Both kinds of GPU."""
    driver.set(integrated=request.param == "integrated")
    return request.param


TAGGER = {"profiles": [{"x": [[1, 1, 8], [2, 4, 8], [4, 16, 8]], "mask": [[1, 1], [2, 4], [4, 16]]}]}
TAGGER["profiles"].append({"x": [[1, 17, 8], [2, 20, 8], [4, 40, 8]], "mask": [[1, 17], [2, 20], [4, 40]]})
STREAM = {"profiles": [{"x": [[1, 4]] * 2 + [[8, 4]], "h": [[1, 6]] * 2 + [[8, 6]], "c": [[1, 6]] * 2 + [[8, 6]]}]}
CACHED = {"profiles": [{"past": [[1, 2, low, 4], [1, 2, high, 4], [1, 2, high, 4]]} for low, high in ((0, 8), (9, 64))]}
STATES = {"h": "h_next", "c": "c_next"}


def tagger(flavour: str = "tensorrt", **recipe: object) -> TensorRTBackend:
    """A backend of the tagger, with two profiles."""
    model, specs = models.tagger()
    return TensorRTBackend(stand_in.make_engine(model, **{**TAGGER, **recipe}), flavour, specs)


def bind_tagger(backend: TensorRTBackend | OrtBackend, batch: int, time: int) -> None:
    """Set its shapes, the outputs' as the bundle would know them."""
    inputs = {"x": (batch, time, 8), "mask": (batch, time)}
    backend.bind(inputs, {"y": (batch, time, 5), "count": (batch,)})


def feeds(batch: int, time: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of the tagger."""
    random = np.random.default_rng(seed)
    return {
        "x": random.normal(size=(batch, time, 8)).astype(np.float32),
        "mask": random.integers(0, 2, (batch, time)).astype(bool),
    }


def outputs(backend: TensorRTBackend | OrtBackend, given: dict[str, np.ndarray], *names: str) -> list[np.ndarray]:
    """Run once and copy the outputs."""
    for name, array in given.items():
        backend.input(name)[...] = array
    backend.enqueue()
    assert backend.synchronise(5.0)
    return [backend.output(name).copy() for name in names]


def oracle(model: bytes, specs: tuple, carried: dict[str, str] | None = None) -> OrtBackend:
    """The same by onnxruntime."""
    return OrtBackend(model, "enable_all", specs, carried or {})
