"""Device memory, copies and one stream, through pycuda and the device's primary context."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

from edgekit.errors import SessionError, TargetError
from edgekit.runtime.backend import Array

_POLL_S = 50e-6


class CudaMemory:
    """Owns a retained primary context (never `pycuda.autoinit`, which makes a second one) and a stream."""

    def __init__(self, ordinal: int = 0) -> None:
        self._cuda = _driver()
        try:
            self._cuda.init()
            device = self._cuda.Device(ordinal)
            self._context = device.retain_primary_context()
        except self._cuda.Error as error:
            raise TargetError(f"expected a CUDA device {ordinal}, found: {error}", "--backend ort") from error
        self._context.push()
        major, minor = device.compute_capability()
        self.device = f"{device.name()} (compute capability {major}.{minor})"
        self._stream = self._cuda.Stream()
        self._done = self._cuda.Event()

    @property
    def stream_handle(self) -> int:
        """The CUstream as an integer, which TensorRT wants."""
        return int(self._stream.handle)

    def buffers(self, shape: tuple[int, ...], dtype: str) -> tuple[Array, Any]:
        """A zeroed pinned host array and a device allocation of its size."""
        host: Array = self._cuda.pagelocked_zeros(shape, dtype)
        return host, self._cuda.mem_alloc(max(host.nbytes, 1))

    def to_device(self, target: Any, source: Array) -> None:
        """Enqueue a copy of host `source` to device `target`."""
        self._cuda.memcpy_htod_async(target, source, self._stream)

    def to_host(self, target: Array, source: Any) -> None:
        """Enqueue a copy of device `source` to host `target`."""
        self._cuda.memcpy_dtoh_async(target, source, self._stream)

    def times_ms(self, call: Callable[[], None], runs: int) -> list[float]:
        """What each of the calls took on the device, in milliseconds, by events on this stream."""
        events = [self._cuda.Event() for _ in range(runs + 1)]
        events[0].record(self._stream)
        for event in events[1:]:
            call()
            event.record(self._stream)
        events[-1].synchronize()
        return [float(after.time_since(before)) for before, after in itertools.pairwise(events)]

    def mark(self) -> None:
        """Record the event for which `synchronise` waits."""
        self._done.record(self._stream)

    def synchronise(self, timeout_s: float | None) -> bool:
        """Wait for the last mark; False after `timeout_s`. Errors of the stream arrive here."""
        try:
            if timeout_s is None:
                self._stream.synchronize()
                return True
            deadline = time.perf_counter() + timeout_s
            while not self._done.query():
                if time.perf_counter() > deadline:
                    return False
                time.sleep(_POLL_S)
        except self._cuda.Error as error:
            raise SessionError(f"the GPU reported: {error}") from error
        return True

    def close(self) -> None:
        """Give the context back; buffers must be gone by then."""
        self._context.pop()
        self._context.detach()


def _driver() -> Any:
    try:
        import pycuda.driver
    except ImportError as error:
        raise TargetError(
            f"expected pycuda and an NVIDIA driver to run an engine, found: {error}",
            "pip install pycuda on a machine with a GPU, or --backend ort",
        ) from error
    return pycuda.driver
