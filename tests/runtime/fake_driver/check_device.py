"""Both ways to the driver behave the same: order, memory, contexts, and what they say when something fails."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import numpy as np
import pytest

from edgekit.errors import SessionError, TargetError
from edgekit.plugins.gpu import CudaGpu
from edgekit.runtime.cuda import open_device, wait
from edgekit.runtime.cuda.device import keep_for_good
from tests.runtime.fake_driver.harness import PYCUDA


@pytest.fixture
def device(driver):
    opened, _ = open_device()
    yield opened
    opened.close()


def test_the_device_and_the_way_to_it_are_named():
    device, why = open_device()
    assert device.name == "edgekit fake device (compute capability 8.7)"
    assert why == f"{device.api}, asked for by EDGEKIT_CUDA"
    assert device.api.startswith("pycuda 2026.1" if PYCUDA else "cuda-bindings ")
    device.close()


def test_a_way_that_there_is_not_is_refused(monkeypatch):
    monkeypatch.setenv("EDGEKIT_CUDA", "cupy")
    with pytest.raises(SessionError, match=r"expected EDGEKIT_CUDA to be pycuda or cuda-bindings, found 'cupy'"):
        open_device()


def test_without_pycuda_it_is_cuda_bindings_and_says_why(monkeypatch):
    monkeypatch.delenv("EDGEKIT_CUDA")
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    device, why = open_device()
    assert why.startswith("cuda-bindings ")
    assert ", since pycuda: " in why
    device.close()
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
    with pytest.raises(TargetError, match=r"expected pycuda or cuda-bindings and an NVIDIA driver .*; cuda-bindings: "):
        open_device()


def test_cuda_bindings_without_a_driver_is_the_same_as_none(monkeypatch):
    def missing(flags):
        raise RuntimeError("libcuda.so.1 is not here")

    monkeypatch.setenv("EDGEKIT_CUDA", "cuda-bindings")
    monkeypatch.setattr("cuda.bindings.driver.cuInit", missing)
    with pytest.raises(TargetError, match=r"found cuda-bindings: libcuda\.so\.1 is not here; next: "):
        open_device()


def test_what_is_enqueued_happens_in_its_order_and_not_before_somebody_waits(device, driver):
    host, back = device.pinned(8)[0], device.pinned(8)[0]
    one, other = device.alloc(8), device.alloc(8)
    host[:], back[:] = 1, 9
    copy = device.h2d(one, host)
    copy()
    device.d2d(other, one, 8)
    device.memset(one, 4)
    device.d2h(back, other)()
    host[:] = 2  # before the copy has happened: a mistake, and it shows
    device.mark()
    assert back.tolist() == [9] * 8
    assert not device.done()
    assert wait(device, 1.0)
    assert back.tolist() == [2] * 8
    device.d2h(back, one)()
    device.synchronise()
    assert back.tolist() == [0] * 4 + [2] * 4
    assert (driver.get("to_device"), driver.get("within_device")) == (1, 1)
    for address in (one, other):
        device.free(address)
    for array in (host, back):
        device.unpin(array)


def test_mapped_memory_is_the_devices_own(driver):
    driver.set(integrated=1)
    device, _ = open_device()
    assert device.integrated
    host, address = device.pinned(8)
    assert address not in (0, host.ctypes.data)
    host[:] = 7
    device.memset(address, 4)
    device.synchronise()
    assert host.tolist() == [0] * 4 + [7] * 4
    device.unpin(host)
    device.close()


def test_memory_of_the_device_is_counted(device):
    free, total = device.mem_info()
    address = device.alloc(1 << 20)
    assert (total, device.mem_info()[0]) == (1 << 30, free - (1 << 20))
    device.free(address)
    assert device.mem_info()[0] == free


def test_times_are_those_between_events(device, driver):
    driver.set(in_us=250)
    host, address = device.pinned(4)[0], device.alloc(4)
    assert device.times_ms(device.h2d(address, host), 3) == [0.25] * 3
    first, second = device.event(), device.event()
    copy = device.h2d(address, host)
    for copies in (2, 3):  # recorded anew, they know the last time alone
        device.record(first)
        for _ in range(copies):
            copy()
        device.record(second)
        device.synchronise()
        assert device.elapsed_ms(first, second) == pytest.approx(0.25 * copies)
        assert device.elapsed_ms(second, first) == pytest.approx(-0.25 * copies)
    device.free(address)
    device.unpin(host)


def test_a_time_that_there_is_not_is_the_drivers_own_error(device):
    """As cuda.h says of cuEventElapsedTime."""
    first, second = device.event(), device.event()
    device.record(first)
    device.synchronise()
    for pair in ((first, second), (second, first)):  # one has never been recorded
        with pytest.raises(device.Error, match="cuEventElapsedTime failed: invalid resource handle"):
            device.elapsed_ms(*pair)
    device.record(second)
    with pytest.raises(device.Error, match="cuEventElapsedTime failed: device not ready"):
        device.elapsed_ms(first, second)
    device.mark()
    device.synchronise()
    with pytest.raises(device.Error, match="cuEventElapsedTime failed: invalid resource handle"):
        device.elapsed_ms(first, device._done)  # which was made to know no time
    assert device.elapsed_ms(first, second) == 0


def test_sessions_of_one_thread_may_close_in_any_order():
    first, second, third = (open_device()[0] for _ in range(3))
    second.close()
    address = third.alloc(4)
    third.free(address)
    first.close()
    address = third.alloc(4)
    third.free(address)
    third.close()
    again, _ = open_device()
    again.close()
    again.close()


def test_another_thread_has_no_context(device):
    found = []
    thread = threading.Thread(target=lambda: found.append(_refusal(device)))
    thread.start()
    thread.join()
    assert "invalid device context" in found[0]


def _refusal(device):
    try:
        device.alloc(4)
    except device.Error as error:
        return str(error)
    return ""


def test_a_machine_without_a_device_is_one_line(driver):
    driver.set(no_device=1)
    with pytest.raises(
        TargetError, match=r"^expected a CUDA device 0, found: cuInit failed: no CUDA-capable device is"
    ):
        open_device()
    driver.set(no_device=0)
    with pytest.raises(
        TargetError, match=r"expected a CUDA device 3, found: cuDeviceGet failed: invalid device ordinal"
    ):
        open_device(3)


@pytest.mark.parametrize("number", [1, 2])
def test_a_stream_or_an_event_that_cannot_be_made_leaves_nothing(driver, number):
    driver.set(fail_call=number)
    with pytest.raises(TargetError, match=r"Create failed: out of memory"):
        open_device()


def test_after_a_sticky_error_every_call_says_so_and_closing_is_quiet(driver, capfd):
    device, _ = open_device()
    address, (host, _) = device.alloc(8), device.pinned(8)
    driver.set(break_in=1)
    device.h2d(address, host)()
    device.mark()
    for _ in range(2):
        with pytest.raises(SessionError, match=r"the GPU reported: .* an illegal memory access was encountered"):
            wait(device, 1.0)
    for call in (device.mem_info, device.mark, lambda: device.alloc(4), device.synchronise, device.d2h(host, address)):
        with pytest.raises(device.Error, match=r"illegal memory access"):
            call()
    device.close()
    del host, call
    assert capfd.readouterr().err == ""
    driver.allow(left_to_driver=4)  # both allocations, stream and event went with the context


def test_bench_has_memory_and_times(kind, driver):
    gpu = CudaGpu()
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    address = gpu.put(array)
    np.testing.assert_array_equal(gpu.get(address, (2, 3)), array)
    assert gpu.get(gpu.put(np.zeros((0, 3), np.int8)), (0, 3), np.int8).shape == (0, 3)
    assert len(gpu.times_ms(lambda: None, 3)) == 3
    driver.set(fail_allocation=2)
    with pytest.raises(SessionError, match=r"the GPU reported: cuMemAlloc failed: out of memory"):
        gpu.put(array)
    gpu.close()


def test_bench_closes_after_a_sticky_error(driver):
    gpu = CudaGpu()
    gpu.put(np.zeros(3))
    driver.set(broken=1)
    gpu.close()
    driver.allow(left_to_driver=3)


FORGOTTEN = """
import atexit
import ctypes
driver = ctypes.CDLL("libcuda.so.1")
kept = wanted = []
atexit.register(lambda: print(driver.fake_get(b"would_block"), driver.fake_get(b"contexts"), list(kept) == wanted))
from edgekit.runtime.cuda import open_device
from edgekit.runtime.cuda.device import keep_for_good
device = open_device()[0]
address, (host, _) = device.alloc(8), device.pinned(8)
host[:] = 7
"""
HUNG = """
driver.fake_set(b"hang", 1)
device.h2d(address, host)()
device.mark()
"""
CLOSED = """
keep_for_good(host)
device.leave()
"""
KEPT = """
device.free(address)
kept = host[:2]
wanted = kept.tolist()
device.close([host])
del host
"""


@pytest.mark.parametrize(
    ("script", "contexts"),
    [
        pytest.param(FORGOTTEN, 0 if PYCUDA else 1, id="forgotten"),
        pytest.param(FORGOTTEN + HUNG, 1, id="forgotten while it hangs"),
        pytest.param(FORGOTTEN + HUNG + CLOSED, 1, id="closed while it hangs"),
        pytest.param(FORGOTTEN + KEPT, 1, id="an array is kept"),
    ],
)
def test_an_app_ends_quietly_whatever_it_left(script, contexts):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"0 {contexts} True\n", "")


@pytest.mark.skipif(not PYCUDA, reason="cuda-bindings have nothing that ends by itself")
@pytest.mark.parametrize("hang", [0, 1])
def test_what_pycuda_does_at_the_end_waits_for_nothing(driver, hang):
    device, _ = open_device()
    device.memset(address := device.alloc(8), 8)
    device.mark()
    driver.set(hang=hang, lateness=0)
    device._at_exit()
    assert (driver.get("contexts"), driver.get("would_block"), driver.get("depth")) == (hang, 0, 0)
    assert address
    driver.allow(*driver.left())


def test_a_device_that_is_left_gives_nothing_back_later(driver):
    device, _ = open_device()
    address, (host, _) = device.alloc(8), device.pinned(8)
    driver.set(hang=1)
    device.h2d(address, host)()
    device.mark()
    device.leave()
    keep_for_good(host)  # as the backend does
    del device
    gc.collect()
    assert (driver.get("allocations"), driver.get("streams"), driver.get("contexts")) == (2, 1, 1)
    assert (driver.get("would_block"), driver.get("depth")) == (0, 0)
    driver.allow(*driver.left())
