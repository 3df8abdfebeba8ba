"""Tensors on a device, tried on host memory in its place: what needs no driver at all."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import SessionError
from edgekit.plugins.gpu import CudaGpu
from edgekit.runtime.cuda.device import wait
from edgekit.runtime.cuda.host_device import HostDevice, HostError
from edgekit.runtime.cuda.tensors import Tensors
from edgekit.runtime.trt_graphs import Graphs

DTYPES = {"x": "float32", "h": "int64", "h_next": "int64"}


@pytest.fixture(params=[False, True], ids=["discrete", "integrated"])
def device(request):
    made = HostDevice(integrated=request.param)
    yield made
    assert made.memory == {}
    made.close()


@pytest.fixture
def tensors(device):
    made = Tensors(device, DTYPES, {"h": "h_next"})
    yield made
    assert made.close() == []


def test_memory_is_made_once_and_seen_at_any_shape_that_fits(device, tensors):
    assert tensors.shape({"x": (0, 8)})
    assert tensors.addresses["x"]
    assert tensors.copies_in(["x"]) == tensors.copies_out(["x"]) == []
    assert tensors.reserve({"x": (4, 8)})
    count = len(device.memory)
    for shape in ((2, 3), (4, 8), (0, 7), ()):
        assert not tensors.shape({"x": shape})
        assert (tensors.arrays["x"].shape, tensors.arrays["x"].dtype) == (shape, np.float32)
        assert not tensors.arrays["x"].any()
    assert len(device.memory) == count
    assert tensors.shape({"x": (4, 9)})


def test_larger_memory_goes_on_with_what_the_smaller_held(device, tensors):
    tensors.shape({"h": (3,)})
    tensors.arrays["h"][:] = 1, 2, 3
    for copy in tensors.copies_in(["h"]):
        copy()
    tensors.shape({"h": (5,)})
    assert tensors.arrays["h"].tolist() == [1, 2, 3, 0, 0]
    tensors.arrays["h"][:] = 9
    for copy in tensors.copies_out(["h"]):
        copy()
    assert tensors.arrays["h"].tolist() == ([9] * 5 if device.integrated else [1, 2, 3, 0, 0])


def test_a_pair_changes_places_with_its_shapes_and_without_a_copy(device, tensors):
    tensors.shape({"h": (2,), "h_next": (3,)})
    tensors.arrays["h_next"][:] = 4, 5, 6
    for copy in tensors.copies_in(["h_next"]):
        copy()
    addresses, copies = tensors.addresses, device.copies
    tensors.swap("h", "h_next")
    assert tensors.addresses == {"h": addresses["h_next"], "h_next": addresses["h"]}
    assert device.copies == copies
    for copy in tensors.copies_out(["h"]):
        copy()
    assert tensors.arrays["h"].tolist() == [4, 5, 6]
    tensors.zero("h")
    for copy in tensors.copies_out(["h"]):
        copy()
    assert tensors.arrays["h"].tolist() == [0, 0, 0]


def test_memory_that_is_short_is_one_line_and_all_is_as_before(device):
    device._size = 280
    tensors = Tensors(device, DTYPES, {"h": "h_next"})
    tensors.shape({"x": (2,)})
    before = set(device.memory)
    for name in ("x", "h"):
        with pytest.raises(SessionError, match=r"expected 0\.0 MiB for \w+, found 0\.0 of 0 MiB free: out of memory"):
            tensors.shape({name: (70,)})
        assert set(device.memory) == before
    assert tensors.arrays["x"].shape == (2,)
    assert tensors.close() == []


def test_what_is_still_read_is_lent_and_not_freed(device):
    tensors = Tensors(device, DTYPES, {})
    tensors.shape({"x": (2, 3), "h": (1,)})
    kept = tensors.arrays["x"][0]
    (lent,) = tensors.close()
    assert np.shares_memory(kept, lent)
    device.unpin(lent)


def test_wrong_addresses_and_sizes_are_refused(device):
    address = device.alloc(4)
    for call in (
        lambda: device.memset(address + 1, 2),
        lambda: device.memset(address, 5),
        lambda: device.free(address + 1),
    ):
        with pytest.raises(HostError):
            call()
    device.free(address)


def test_a_graph_is_what_was_enqueued_and_runs_when_it_is_launched(device):
    host, address = device.pinned(4)[0], device.alloc(4)
    notes: dict[str, str] = {}
    graphs, seen = Graphs(device, notes, ""), []

    def work():
        device.memset(address, 4)
        device.enqueue(lambda: seen.append(len(seen)))
        device.d2h(host, address)()

    host[:] = 1
    graph = device.capture(work)
    assert (seen, host.tolist()) == ([], [1] * 4)
    device.launch(graph)
    assert (seen, host.tolist()) == ([0], [0] * 4)
    device.drop(graph)
    for _ in range(5):
        graphs.run("key", work)
    assert (len(seen), notes) == (6, {"cuda_graph": "captured"})
    graphs.forget()
    device.mark()
    device.synchronise()
    assert wait(device, 1.0)
    assert wait(device, None)
    device.free(address)
    device.unpin(host)
    device.leave()


def test_an_event_knows_when_it_happened_last(device, monkeypatch):
    ticks = iter([1.0, 1.5, 2.0, 2.125])
    monkeypatch.setattr("edgekit.runtime.cuda.host_device.time.perf_counter", lambda: next(ticks))
    first, second = device.event(), device.event()
    device.record(first)
    for pair in ((first, second), (second, first)):
        with pytest.raises(HostError, match="an event has not happened"):
            device.elapsed_ms(*pair)
    device.record(second)
    assert (device.elapsed_ms(first, second), device.elapsed_ms(second, first)) == (500.0, -500.0)
    device.record(first)
    device.record(second)
    assert device.elapsed_ms(first, second) == 125.0


def test_bench_runs_on_whatever_device_there_is(device, monkeypatch):
    monkeypatch.setattr("edgekit.plugins.gpu.open_device", lambda: (device, "a test"))
    gpu = CudaGpu()
    array = np.arange(12, dtype=np.float16).reshape(3, 4).T
    np.testing.assert_array_equal(gpu.get(gpu.put(array), (4, 3), np.float16), array)
    assert len(gpu.times_ms(lambda: None, 4)) == 4
    gpu.close()
