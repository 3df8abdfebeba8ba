"""CUDA graphs: captured once a binding has settled, right in every number, and never insisted on."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from edgekit.runtime.cuda import open_device
from tests.runtime.fake_driver import models, stand_in
from tests.runtime.fake_driver.check_states import bind, by_hand, frames, recurrent, step
from tests.runtime.fake_driver.harness import PYCUDA, bind_tagger, feeds, oracle, outputs, tagger


@pytest.fixture(autouse=True)
def with_graphs(request):
    if PYCUDA and "without" not in request.node.name:
        pytest.skip("pycuda has no graphs")


def same(backend, reference, count, batch=2, time=3):
    for seed in range(count):
        given = feeds(batch, time, seed)
        for found, wanted in zip(
            outputs(backend, given, "y", "count"), outputs(reference, given, "y", "count"), strict=True
        ):
            np.testing.assert_array_equal(found, wanted)


def test_from_the_fourth_run_on_it_is_a_graph_with_the_same_numbers(kind, driver):
    backend, reference = tagger(), oracle(*models.tagger())
    for each in (backend, reference):
        bind_tagger(each, 2, 3)
    assert backend.notes["cuda_graph"] == "after 3 runs at one shape"
    same(backend, reference, 3)
    assert driver.get("launches") == 0
    same(backend, reference, 7)
    assert (driver.get("launches"), driver.get("calls")) == (7, 10)
    assert backend.notes["cuda_graph"] == "captured"
    copies = 0 if kind == "integrated" else 20
    assert (driver.get("to_device"), driver.get("to_host")) == (copies, copies)
    backend.close()


def test_another_binding_has_its_own_graph(kind, driver):
    backend, reference = tagger(), oracle(*models.tagger())
    for batch, time in ((2, 3), (4, 40), (1, 2)):
        for each in (backend, reference):
            bind_tagger(each, batch, time)
        same(backend, reference, 6, batch, time)
        assert driver.get("graphs") == 1
    assert driver.get("launches") == 9
    backend.close()


def test_steps_have_a_graph_for_either_order_of_the_buffers(kind, driver):
    backend = recurrent()
    bind(backend, 2)
    xs = frames(14)
    for x, y in zip(xs, by_hand(xs)[0], strict=True):
        np.testing.assert_array_equal(step(backend, x), y)
    assert (driver.get("graphs"), driver.get("launches")) == (2, 8)
    backend.reset()
    backend.input("c")[...] = 1  # what the app writes is copied in before the graph
    wanted = by_hand(xs, c=np.ones((2, 6), np.float32))[0]
    for x, y in zip(xs, wanted, strict=True):
        np.testing.assert_array_equal(step(backend, x), y)
    assert driver.get("launches") == 22
    backend.close()


@pytest.mark.parametrize("where", [1, 2, 3, 4])
def test_a_refusal_anywhere_falls_back_once_and_says_so(kind, driver, where):
    driver.set(refuse_capture=where)
    backend, reference = tagger(), oracle(*models.tagger())
    for each in (backend, reference):
        bind_tagger(each, 2, 3)
    same(backend, reference, 8)
    assert backend.notes["cuda_graph"].startswith("none: cu")
    assert (driver.get("graphs"), driver.get("launches"), driver.get("calls")) == (0, 0, 8)
    driver.set(refuse_capture=0)
    bind_tagger(backend, 2, 3)
    same(backend, reference, 8)
    assert driver.get("launches") == 0
    backend.close()


def test_an_engine_that_cannot_be_captured_falls_back(driver, monkeypatch):
    backend, reference = tagger(), oracle(*models.tagger())
    for each in (backend, reference):
        bind_tagger(each, 2, 3)
    same(backend, reference, 3)
    run, runs = stand_in.Context.execute_async_v3, []

    def once_refused(self, stream):
        runs.append(stream)
        return self._refuse("this layer synchronises") if len(runs) == 1 else run(self, stream)

    monkeypatch.setattr(stand_in.Context, "execute_async_v3", once_refused)
    same(backend, reference, 3)
    assert backend.notes["cuda_graph"] == (
        "none: tensorrt 11.1.0 could not enqueue the inference (this layer synchronises)"
    )
    assert len(runs) == 4
    backend.close()


def test_another_session_may_allocate_while_a_graph_is_captured():
    device, _ = open_device()

    def another():
        other, _ = open_device()
        other.free(other.alloc(8))
        other.close()

    def work():
        thread = threading.Thread(target=another)
        thread.start()
        thread.join()

    device.drop(device.capture(work))
    with pytest.raises(device.Error, match="not permitted when stream is capturing"):
        device.capture(lambda: device.alloc(8))
    device.close()


def test_graphs_that_cannot_be_given_back_are_an_error_of_the_device(driver):
    backend = tagger()
    bind_tagger(backend, 2, 3)
    for seed in range(4):
        outputs(backend, feeds(2, 3, seed), "y")
    driver.set(broken=1)
    with pytest.raises(Exception, match="the GPU reported: cuGraphExecDestroy failed: an illegal memory access"):
        bind_tagger(backend, 2, 3)
    backend.close()
    driver.allow("left_to_driver")


def test_without_graphs_it_is_said_who_has_them():
    backend = tagger()
    noted = backend.notes["cuda_graph"]
    backend.close()
    if PYCUDA:
        assert noted == "none: pycuda 2026.1 has none, cuda-bindings has (EDGEKIT_CUDA=cuda-bindings)"
        device, _ = open_device()
        for call in (device.capture, device.launch, device.drop):
            with pytest.raises(NotImplementedError):
                call(None)
        device.close()
