"""Host memory in a device's place: for tests of what needs no driver. All happens at once, and no time is true."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekit.runtime.backend import Array
from edgekit.runtime.cuda.device import Work


class HostError(Exception):
    """Host memory was used wrongly."""


class HostDevice:
    """See `Device`. Nothing chooses it by itself: what runs here proves nothing about a GPU."""

    Error: type[Exception] = HostError
    name = "host memory"
    api = "host memory"
    stream = 0

    def __init__(self, *, integrated: bool = False, graphs: bool = True, size: int = 1 << 30) -> None:
        self.integrated, self.graphs = integrated, graphs
        self.memory: dict[int, bytearray] = {}
        self.copies = 0
        self._size = size
        self._list: list[Work] | None = None

    def alloc(self, size: int) -> int:
        """See `Device`."""
        return self.pinned(size)[0].ctypes.data

    def free(self, address: int) -> None:
        """See `Device`."""
        if self.memory.pop(address, None) is None:
            raise HostError(f"{address} is not allocated")

    def pinned(self, size: int) -> tuple[Array, int]:
        """See `Device`."""
        if size > self.mem_info()[0]:
            raise HostError("out of memory")
        content = bytearray(b"\xa5" * size)
        host: Array = np.frombuffer(content, np.uint8)
        self.memory[host.ctypes.data] = content
        return host, host.ctypes.data if self.integrated else 0

    def unpin(self, host: Array) -> None:
        """See `Device`."""
        self.free(host.ctypes.data)

    def h2d(self, target: int, source: Array) -> Work:
        """See `Device`."""
        return lambda: self._do(lambda: self._copy(self._at(target, source.nbytes), source.reshape(-1).view(np.uint8)))

    def d2h(self, target: Array, source: int) -> Work:
        """See `Device`."""
        return lambda: self._do(lambda: self._copy(target.reshape(-1).view(np.uint8), self._at(source, target.nbytes)))

    def d2d(self, target: int, source: int, size: int) -> None:
        """See `Device`."""
        self._do(lambda: self._copy(self._at(target, size), self._at(source, size)))

    def memset(self, target: int, size: int) -> None:
        """See `Device`."""
        self._do(lambda: self._at(target, size).fill(0))

    def mark(self) -> None:
        """Nothing is ever under way."""

    def done(self) -> bool:
        """Always."""
        return True

    def synchronise(self) -> None:
        """Nothing is ever under way."""

    def capture(self, work: Work) -> Any:
        """See `Device`."""
        captured: list[Work] = []
        self._list = captured
        try:
            work()
        finally:
            self._list = None
        return captured

    def launch(self, graph: Any) -> None:
        """See `Device`."""
        for work in graph:
            work()

    def drop(self, graph: Any) -> None:
        """See `Device`."""
        graph.clear()

    def enqueue(self, work: Work) -> None:
        """Let `work` take its turn: what a test's kernels call."""
        self._do(work)

    def mem_info(self) -> tuple[int, int]:
        """See `Device`."""
        return self._size - sum(map(len, self.memory.values())), self._size

    def event(self) -> Any:
        """See `Device`: a list of the one moment, by this machine's clock, at which it happened last."""
        return []

    def record(self, event: Any) -> None:
        """See `Device`."""
        self._do(lambda: event.__setitem__(slice(None), [time.perf_counter()]))

    def elapsed_ms(self, first: Any, second: Any) -> float:
        """See `Device`."""
        if not (first and second):
            raise HostError("an event has not happened")
        return float(second[0] - first[0]) * 1e3

    def times_ms(self, work: Work, runs: int) -> list[float]:
        """See `Device`; by this machine's clock."""
        ticks = [time.perf_counter()]
        for _ in range(runs):
            work()
            ticks.append(time.perf_counter())
        return [(after - before) * 1e3 for before, after in itertools.pairwise(ticks)]

    def close(self, lent: Sequence[Array] = ()) -> None:
        """See `Device`; NumPy keeps what is lent."""
        self.memory.clear()

    def let_go(self) -> None:
        """A host has no thread of its own."""

    take = let_go

    def leave(self) -> None:
        """Nothing ever hangs."""

    def _do(self, work: Work) -> None:
        work() if self._list is None else self._list.append(work)

    def _copy(self, target: Array, source: Array) -> None:
        target[...] = source
        self.copies += 1

    def _at(self, address: int, size: int) -> Array:
        if len(self.memory.get(address, b"")) < size:
            raise HostError(f"{size} bytes at {address} are not allocated")
        return np.frombuffer(self.memory[address], np.uint8, size)
