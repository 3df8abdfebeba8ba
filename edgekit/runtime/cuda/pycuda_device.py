"""A device through pycuda and its primary context, which is retained: `pycuda.autoinit` would make a second one."""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib
import itertools
from collections.abc import Sequence
from typing import Any

from edgekit.errors import TargetError
from edgekit.runtime.backend import Array
from edgekit.runtime.cuda.device import NON_BLOCKING, Work, keep_for_good, when_unused


class PyCudaDevice:
    """See `Device`. Raises ImportError without pycuda or a driver, TargetError without a device."""

    graphs = False
    _context: Any
    _stream: Any
    _done: Any

    def __init__(self, ordinal: int = 0) -> None:
        self._cuda: Any = importlib.import_module("pycuda.driver")
        self.api = f"pycuda {importlib.import_module('pycuda').VERSION_TEXT}"
        self.Error = self._cuda.Error
        self._memory: dict[int, Any] = {}
        self._events: list[Any] = []
        self._context = self._stream = self._done = None
        try:
            self._open(ordinal)
        except self.Error as error:
            self.close()
            raise TargetError(f"expected a CUDA device {ordinal}, found: {error}", "--backend ort") from error
        self.stream = int(self._stream.handle)
        # Where an app never closes, pycuda would abort the interpreter at its end.
        atexit.register(self._at_exit)

    def _open(self, ordinal: int) -> None:
        cuda = self._cuda
        cuda.init()
        device = cuda.Device(ordinal)
        major, minor = device.compute_capability()
        self.name = f"{device.name()} (compute capability {major}.{minor})"
        self.integrated = bool(device.get_attribute(cuda.device_attribute.INTEGRATED))
        self._flags = cuda.host_alloc_flags.DEVICEMAP if self.integrated else 0
        self._context = device.retain_primary_context()
        self._context.push()
        self._stream = cuda.Stream(NON_BLOCKING)
        self._done = cuda.Event(cuda.event_flags.DISABLE_TIMING)

    def alloc(self, size: int) -> int:
        """See `Device`."""
        memory = self._cuda.mem_alloc(size)
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        """See `Device`."""
        self._memory.pop(address).free()

    def pinned(self, size: int) -> tuple[Array, int]:
        """See `Device`."""
        host: Array = self._cuda.pagelocked_empty(size, "uint8", mem_flags=self._flags)
        owner: Any = host.base
        return host, int(owner.get_device_pointer()) if self.integrated else 0

    def unpin(self, host: Array) -> None:
        """See `Device`."""
        owner: Any = host.base
        owner.free()

    def h2d(self, target: int, source: Array) -> Work:
        """See `Device`."""
        return functools.partial(self._cuda.memcpy_htod_async, target, source, self._stream)

    def d2h(self, target: Array, source: int) -> Work:
        """See `Device`."""
        return functools.partial(self._cuda.memcpy_dtoh_async, target, source, self._stream)

    def d2d(self, target: int, source: int, size: int) -> None:
        """See `Device`."""
        self._cuda.memcpy_dtod_async(target, source, size, self._stream)

    def memset(self, target: int, size: int) -> None:
        """See `Device`."""
        self._cuda.memset_d8_async(target, 0, size, self._stream)

    def mark(self) -> None:
        """See `Device`."""
        self._done.record(self._stream)

    def done(self) -> bool:
        """See `Device`."""
        return bool(self._done.query())

    def synchronise(self) -> None:
        """See `Device`."""
        self._stream.synchronize()

    def capture(self, work: Work) -> Any:
        """pycuda has no graphs, and `graphs` says so."""
        raise NotImplementedError

    launch = drop = capture

    def mem_info(self) -> tuple[int, int]:
        """See `Device`."""
        free, total = self._cuda.mem_get_info()
        return int(free), int(total)

    def event(self) -> Any:
        """See `Device`."""
        made = self._cuda.Event()
        self._events.append(made)
        return made

    def record(self, event: Any) -> None:
        """See `Device`."""
        event.record(self._stream)

    def elapsed_ms(self, first: Any, second: Any) -> float:
        """See `Device`."""
        return float(second.time_since(first))

    def times_ms(self, work: Work, runs: int) -> list[float]:
        """See `Device`."""
        events = [self._cuda.Event() for _ in range(runs + 1)]
        events[0].record(self._stream)
        for event in events[1:]:
            work()
            event.record(self._stream)
        events[-1].synchronize()
        return [float(after.time_since(before)) for before, after in itertools.pairwise(events)]

    def close(self, lent: Sequence[Array] = ()) -> None:
        """See `Device`."""
        atexit.unregister(self._at_exit)
        if self._context is None:
            return
        if self._works():  # else the context takes along what nobody can give back any more
            self._memory.clear()
            self._events.clear()
            self._stream = self._done = None
        self.let_go()
        self._lent = len(lent)
        for host in lent:
            when_unused(host, self._unused, host.base)
        if lent:
            keep_for_good(self._context)  # at the interpreter's end its destructor would complain
        else:
            self._release()

    def let_go(self) -> None:
        """See `Device`."""
        if self._cuda.Context.get_current() is self._context:
            self._cuda.Context.pop()

    def take(self) -> None:
        """See `Device`."""
        self._context.push()

    def leave(self) -> None:
        """See `Device`."""
        atexit.unregister(self._at_exit)
        self.let_go()
        keep_for_good(self)

    def _at_exit(self) -> None:
        if self._works() and not self.done():
            self.leave()
        else:
            self.close()

    def _unused(self, memory: Any) -> None:
        memory.free()
        self._lent -= 1
        if not self._lent:
            self._release()

    def _release(self) -> None:
        # `detach` pushes a context in order to release it, and leaves it on the driver's stack.
        self._context.detach()
        ctypes.CDLL("libcuda.so.1").cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
        self._context = None

    def _works(self) -> bool:
        try:
            self.mem_info()
        except self.Error:
            return False
        return True
