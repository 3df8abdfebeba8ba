"""A device through NVIDIA's own cuda-bindings, which have graphs, and its primary context."""

from __future__ import annotations

import importlib
import importlib.metadata
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekit.errors import TargetError
from edgekit.runtime.backend import Array
from edgekit.runtime.cuda.device import NON_BLOCKING, Work, when_unused


class CudaError(Exception):
    """What the driver answered, in its own words."""


class BindingsDevice:
    """See `Device`. Raises ImportError without cuda-bindings or a driver, TargetError without a device."""

    Error: type[Exception] = CudaError
    graphs = True
    _context: Any
    _stream: Any
    _done: Any

    def __init__(self, ordinal: int = 0) -> None:
        self._cuda: Any = importlib.import_module("cuda.bindings.driver")
        self.api = f"cuda-bindings {importlib.metadata.version('cuda-bindings')}"
        self._ready, self._not_ready = self._cuda.CUresult.CUDA_SUCCESS, self._cuda.CUresult.CUDA_ERROR_NOT_READY
        self._context = self._stream = self._done = None
        self._events: list[Any] = []
        try:
            self._open(ordinal)
        except CudaError as error:
            self.close()
            raise TargetError(f"expected a CUDA device {ordinal}, found: {error}", "--backend ort") from error
        self.stream = int(self._stream)

    def _open(self, ordinal: int) -> None:
        try:
            answer = self._cuda.cuInit(0)
        except RuntimeError as error:  # there is no driver
            raise ImportError(str(error)) from error
        self._check("cuInit", answer)
        self._device = self._call("cuDeviceGet", ordinal)
        attribute = self._cuda.CUdevice_attribute
        major = self._call("cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, self._device)
        minor = self._call("cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, self._device)
        name = self._call("cuDeviceGetName", 256, self._device).split(b"\0")[0].decode()
        self.name = f"{name} (compute capability {major}.{minor})"
        self.integrated = bool(
            self._call("cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED, self._device)
        )
        self._flags = self._cuda.CU_MEMHOSTALLOC_DEVICEMAP if self.integrated else 0
        self._context = self._call("cuDevicePrimaryCtxRetain", self._device)
        self._call("cuCtxPushCurrent", self._context)
        self._stream = self._call("cuStreamCreate", NON_BLOCKING)
        self._done = self._call("cuEventCreate", self._cuda.CUevent_flags.CU_EVENT_DISABLE_TIMING)

    def alloc(self, size: int) -> int:
        """See `Device`."""
        return int(self._call("cuMemAlloc", size))

    def free(self, address: int) -> None:
        """See `Device`."""
        self._call("cuMemFree", address)

    def pinned(self, size: int) -> tuple[Array, int]:
        """See `Device`."""
        pointer = int(self._call("cuMemHostAlloc", size, self._flags))
        host: Array = np.asarray(_Bytes(pointer, size))
        return host, int(self._call("cuMemHostGetDevicePointer", pointer, 0)) if self.integrated else 0

    def unpin(self, host: Array) -> None:
        """See `Device`."""
        self._call("cuMemFreeHost", host.ctypes.data)

    def h2d(self, target: int, source: Array) -> Work:
        """See `Device`."""
        copy, stream, size = self._cuda.cuMemcpyHtoDAsync, self._stream, source.nbytes
        to, pointer = self._cuda.CUdeviceptr(target), source.ctypes.data

        def work() -> None:
            if (answer := copy(to, pointer, size, stream))[0]:
                self._check("cuMemcpyHtoDAsync", answer)

        return work

    def d2h(self, target: Array, source: int) -> Work:
        """See `Device`."""
        copy, stream, size = self._cuda.cuMemcpyDtoHAsync, self._stream, target.nbytes
        pointer, from_ = target.ctypes.data, self._cuda.CUdeviceptr(source)

        def work() -> None:
            if (answer := copy(pointer, from_, size, stream))[0]:
                self._check("cuMemcpyDtoHAsync", answer)

        return work

    def d2d(self, target: int, source: int, size: int) -> None:
        """See `Device`."""
        self._call("cuMemcpyDtoDAsync", target, source, size, self._stream)

    def memset(self, target: int, size: int) -> None:
        """See `Device`."""
        self._call("cuMemsetD8Async", target, 0, size, self._stream)

    def mark(self) -> None:
        """See `Device`."""
        self.record(self._done)

    def done(self) -> bool:
        """See `Device`."""
        answer = self._cuda.cuEventQuery(self._done)
        if answer[0] == self._not_ready:
            return False
        self._check("cuEventQuery", answer)
        return True

    def synchronise(self) -> None:
        """See `Device`."""
        self._call("cuStreamSynchronize", self._stream)

    def capture(self, work: Work) -> Any:
        """See `Device`. What other threads do meanwhile is no part of it."""
        mode = self._cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", self._stream, mode)
        try:
            work()
        except Exception:
            ended, graph = self._cuda.cuStreamEndCapture(self._stream)  # so that the stream is usable again
            if ended == self._ready:
                self._cuda.cuGraphDestroy(graph)
            raise
        graph = self._call("cuStreamEndCapture", self._stream)
        try:
            return self._call("cuGraphInstantiate", graph, 0)
        finally:
            self._call("cuGraphDestroy", graph)

    def launch(self, graph: Any) -> None:
        """See `Device`."""
        if (answer := self._cuda.cuGraphLaunch(graph, self._stream))[0]:
            self._check("cuGraphLaunch", answer)

    def drop(self, graph: Any) -> None:
        """See `Device`."""
        self._call("cuGraphExecDestroy", graph)

    def mem_info(self) -> tuple[int, int]:
        """See `Device`."""
        free, total = self._call("cuMemGetInfo")
        return int(free), int(total)

    def event(self) -> Any:
        """See `Device`."""
        made = self._call("cuEventCreate", self._cuda.CUevent_flags.CU_EVENT_DEFAULT)
        self._events.append(made)
        return made

    def record(self, event: Any) -> None:
        """See `Device`."""
        if (answer := self._cuda.cuEventRecord(event, self._stream))[0]:
            self._check("cuEventRecord", answer)

    def elapsed_ms(self, first: Any, second: Any) -> float:
        """See `Device`."""
        return float(self._call("cuEventElapsedTime", first, second))

    def times_ms(self, work: Work, runs: int) -> list[float]:
        """See `Device`."""
        events = [self._call("cuEventCreate", 0) for _ in range(runs + 1)]
        self._call("cuEventRecord", events[0], self._stream)
        for event in events[1:]:
            work()
            self._call("cuEventRecord", event, self._stream)
        self._call("cuEventSynchronize", events[-1])
        times = [float(self._call("cuEventElapsedTime", *pair)) for pair in itertools.pairwise(events)]
        for event in events:
            self._call("cuEventDestroy", event)
        return times

    def close(self, lent: Sequence[Array] = ()) -> None:
        """See `Device`. After a sticky error the context takes along what nobody can give back any more."""
        for event in (*self._events, self._done):
            if event is not None:
                self._cuda.cuEventDestroy(event)
        self._events.clear()
        if self._stream is not None:
            self._cuda.cuStreamDestroy(self._stream)
        self._lent = len(lent)
        for host in lent:
            when_unused(host, self._unused, (self._context, host.ctypes.data))
        if self._context is not None:
            self._cuda.cuCtxPopCurrent()
            if not lent:
                self._cuda.cuDevicePrimaryCtxRelease(self._device)
        self._context = self._stream = self._done = None

    def leave(self) -> None:
        """See `Device`."""
        self._cuda.cuCtxPopCurrent()

    let_go = leave

    def take(self) -> None:
        """See `Device`."""
        self._call("cuCtxPushCurrent", self._context)

    def _unused(self, memory: tuple[Any, int]) -> None:
        context, pointer = memory
        self._cuda.cuCtxPushCurrent(context)
        self._cuda.cuMemFreeHost(pointer)
        self._cuda.cuCtxPopCurrent()
        self._lent -= 1
        if not self._lent:
            self._cuda.cuDevicePrimaryCtxRelease(self._device)

    def _call(self, function: str, *arguments: Any) -> Any:
        return self._check(function, getattr(self._cuda, function)(*arguments))

    def _check(self, function: str, answer: tuple[Any, ...]) -> Any:
        """What a call returned, or CudaError; the words are those that pycuda uses."""
        code, *values = answer
        if code != self._ready:
            words = self._cuda.cuGetErrorString(code)[1]
            raise CudaError(f"{function} failed: {words.decode() if words else code.name}")
        return values[0] if len(values) == 1 else values


class _Bytes:
    """Memory that NumPy sees and does not own."""

    def __init__(self, pointer: int, size: int) -> None:
        self.__array_interface__ = {"data": (pointer, False), "shape": (size,), "typestr": "|u1", "version": 3}
