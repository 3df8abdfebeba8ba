"""The Session on a TensorRT backend, from a bundle on disk: what it says is what it says on onnxruntime."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgekit.bundle import Contents, EngineEntry, pack, read_manifest
from edgekit.errors import SessionError
from edgekit.runtime import Session
from edgekit.specs import Stream
from tests.runtime.fake_driver import models, stand_in
from tests.runtime.fake_driver.harness import TAGGER, feeds
from tests.runtime.small_streams import bundle_of, counting_decoder, running_sum

SUM = {"profiles": [{"x": [[1, 1, 2], [1, 1, 2], [4, 8, 2]], "total": [[1, 2], [1, 2], [4, 2]]}]}
COUNT = {"profiles": [{"tokens": [[1, 1], [1, 1], [2, 32]], "past": [[1, 0], [1, 8], [2, 63]]}]}


def with_engines(bundle: Path, recipe: dict) -> Path:
    """The same bundle with an engine of each flavour."""
    manifest = read_manifest(bundle)
    engine = stand_in.make_engine((bundle / "model.onnx").read_bytes(), **recipe)
    entries = (
        EngineEntry("trt.engine", "tensorrt", "11.1.0", ("8.7",)),
        EngineEntry("rtx.engine", "tensorrt_rtx", "1.7.1", ("8.7",)),
    )
    made = {"trt.engine": engine, "rtx.engine": b"vtrt" + engine[4:]}
    contents = Contents({name: bundle / name for name in manifest.files}, made)
    out = bundle.with_name("engines")
    pack(out, replace(manifest, engines=entries), contents)
    return out


@pytest.fixture
def sums(tmp_path):
    ranges = {"batch": (1, 1, 4), "time": (1, 1, 8)}
    return with_engines(bundle_of(running_sum(), tmp_path, Stream(("total=total_out",)), ranges), SUM)


@pytest.mark.parametrize("backend", ["trt", "rtx"])
def test_runs_of_every_size_are_as_on_onnxruntime(kind, driver, tmp_path, backend):
    model = onnx.load_from_string(models.tagger()[0])
    bundle = with_engines(bundle_of(model, tmp_path, None, {"batch": (1, 2, 4), "time": (1, 4, 40)}), TAGGER)
    with Session.open(bundle, backend) as session, Session.open(bundle, "ort") as reference:
        assert (session.backend, session.device) == (backend, "edgekit fake device (compute capability 8.7)")
        for seed, (batch, time) in enumerate([(1, 1), (4, 40), (2, 5), (3, 20)]):
            given = feeds(batch, time, seed)
            found, wanted = session.run(given), reference.run(given)
            for name, array in wanted.items():
                np.testing.assert_allclose(found[name], array, rtol=1e-6, atol=1e-6)
        assert session.health()["cuda"].endswith("asked for by EDGEKIT_CUDA")
    if kind == "integrated":
        assert (driver.get("to_device"), driver.get("to_host")) == (0, 0)


@pytest.mark.parametrize("backend", ["trt", "rtx"])
def test_a_stream_in_chunks_is_the_whole(kind, sums, backend):
    x = np.random.default_rng(1).integers(-9, 9, (2, 24, 2)).astype(np.float32)
    with Session.open(sums, backend) as session, Session.open(sums, "ort") as reference:
        for at in (0, 3, 4, 8, 16):
            part = x[:, at : {0: 3, 3: 4, 4: 8, 8: 16, 16: 24}[at]]
            np.testing.assert_array_equal(session.step(part)["y"], reference.step(part)["y"])
        np.testing.assert_array_equal(session.state()["total"], x.sum(1))
        session.reset()
        for at in range(24):  # one shape for long enough that graphs are captured
            part = x[:, at : at + 1]
            np.testing.assert_array_equal(session.step(part)["y"], x[:, : at + 1].sum(1)[:, None] + 10 * part)
        given = {"x": x[:, :3], "total": np.full((2, 2), 5, np.float32)}
        np.testing.assert_array_equal(session.run(given)["y"], reference.run(given)["y"])
        np.testing.assert_array_equal(session.step(x[:, :2])["y"], reference.step(x[:, :2])["y"])


@pytest.mark.parametrize("backend", ["trt", "rtx"])
def test_a_session_goes_from_thread_to_thread_and_leaves_none_of_its_context_behind(kind, sums, driver, backend):
    x = np.ones((1, 1, 2), np.float32)
    found, depths = [], []

    def opens():
        session = Session.open(sums, backend)
        for _ in range(5):  # so that graphs are captured in this thread
            session.step(x)
        session.hand_over()
        depths.append(driver.get("depth"))
        found.append(session)

    thread = threading.Thread(target=opens)
    thread.start()
    thread.join(60)
    (session,) = found
    assert depths == [0]
    np.testing.assert_array_equal(session.step(x)["y"], 16 * x)
    with Session.open(sums, backend) as another:  # contexts lie on one another
        np.testing.assert_array_equal(another.step(x)["y"], 11 * x)
    np.testing.assert_array_equal(session.step(x)["y"], 17 * x)
    session.hand_over()
    thread = threading.Thread(target=session.close)
    thread.start()
    thread.join(60)


@pytest.mark.parametrize("backend", ["trt", "rtx"])
def test_a_decoder_with_an_empty_cache_writes_the_same_text(kind, tmp_path, backend):
    ranges = {"batch": (1, 1, 2), "time": (1, 1, 32), "past": (0, 8, 63)}
    stream = Stream(("past=present",), "tokens", "logits")
    bundle = with_engines(bundle_of(counting_decoder(), tmp_path, stream, ranges), COUNT)
    with Session.open(bundle, backend) as session, Session.open(bundle, "ort") as reference:
        for _ in range(2):
            found, wanted = (list(each.generate([3, 4], max_new_tokens=20)) for each in (session, reference))
            assert found == wanted
            assert len(found) == 20


def test_a_device_that_fails_is_replaced_where_that_was_asked_for(kind, sums, driver):
    x = np.ones((1, 1, 2), np.float32)
    with Session.open(sums, "trt", on_failure="ort") as session:
        given = {"x": x, "total": x[0]}
        session.run(given)
        driver.set(break_in=1)
        np.testing.assert_array_equal(session.run(given)["y"], 12 * x)
        assert session.backend == "ort"
        assert "illegal memory access" in session.health()["degraded"]
    driver.allow("left_to_driver")


def test_a_stream_whose_device_fails_begins_anew_on_the_replacement(sums, driver):
    driver.allow("left_to_driver")
    x = np.ones((1, 1, 2), np.float32)
    with Session.open(sums, "trt", on_failure="ort") as session:
        for _ in range(2):
            session.step(x)
        driver.set(break_in=1)
        np.testing.assert_array_equal(session.step(x)["y"], 11 * x)
        assert session.backend == "ort"


def test_a_device_that_fails_is_said_otherwise(sums, driver):
    x = np.ones((1, 1, 2), np.float32)
    with Session.open(sums, "trt") as session:
        driver.set(break_in=1)
        with pytest.raises(SessionError, match=r"the GPU reported: .*illegal memory access"):
            session.step(x)
    driver.allow("left_to_driver")


def test_a_hang_is_said_in_time_and_the_session_closes(sums, driver):
    session = Session.open(sums, "trt")
    driver.set(hang=1)
    with pytest.raises(SessionError, match=r"expected the inference to end within 0\.02 s, found it running still"):
        session.wait(session.submit(), timeout=0.02)
    assert session.health()["state"] == "hung"
    session.close()
    assert driver.get("would_block") == 0
    driver.allow(*driver.left())


def test_memory_that_is_short_at_the_opening_leaves_nothing(sums, driver):
    for number in range(1, 11):
        driver.set(fail_allocation=number)
        with pytest.raises(Exception, match=r"cuMem|OutOfMemory"):
            Session.open(sums, "trt")
        assert driver.left() == {}
