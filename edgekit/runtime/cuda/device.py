"""What a GPU backend needs of a device's driver: memory, one stream, events, graphs. Three things can give it."""

from __future__ import annotations

import ctypes
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from edgekit.errors import SessionError
from edgekit.runtime.backend import Array

_POLL_S = 50e-6
# The stream neither waits for what the app does on the default stream nor makes it wait.
NON_BLOCKING = 1

Work: TypeAlias = Callable[[], None]


class Device(Protocol):
    """One device with one stream, used from the thread that opened or took it.

    Sizes are bytes, addresses are the device's. What is enqueued happens later, in its order. The calls raise `Error`,
    whose message is the driver's own words; after a sticky error every call does.
    """

    Error: type[Exception]
    name: str
    api: str  # who talks to the driver
    integrated: bool  # host and device share their memory: `pinned` is mapped, and nothing has to be copied
    graphs: bool
    stream: int  # the CUstream, as TensorRT wants it

    def alloc(self, size: int) -> int:
        """The address of new memory of the device, its bytes undefined."""

    def free(self, address: int) -> None:
        """Give memory of the device back."""

    def pinned(self, size: int) -> tuple[Array, int]:
        """New page-locked host memory, uint8 [size], undefined, and where the device sees it: 0 unless `integrated`."""

    def unpin(self, host: Array) -> None:
        """Give page-locked memory back."""

    def h2d(self, target: int, source: Array) -> Work:
        """What enqueues this copy, as often as it is called; `source` is contiguous and page-locked."""

    def d2h(self, target: Array, source: int) -> Work:
        """What enqueues this copy, as often as it is called; `target` is contiguous and page-locked."""

    def d2d(self, target: int, source: int, size: int) -> None:
        """Enqueue a copy within the device."""

    def memset(self, target: int, size: int) -> None:
        """Enqueue zeroing."""

    def mark(self) -> None:
        """Record the event for which `done` asks."""

    def done(self) -> bool:
        """Whether all that was enqueued before the last `mark` has happened."""

    def synchronise(self) -> None:
        """Wait for all that was enqueued, however long it takes."""

    def capture(self, work: Work) -> Any:
        """What `work` enqueues, as a graph, without running it."""

    def launch(self, graph: Any) -> None:
        """Enqueue a captured graph."""

    def drop(self, graph: Any) -> None:
        """Give a graph back."""

    def mem_info(self) -> tuple[int, int]:
        """Free and total memory of the device, in bytes."""

    def event(self) -> Any:
        """A new event that will know when it happened; the device has it until `close` gives it back."""

    def record(self, event: Any) -> None:
        """Enqueue that `event` happens; an event may be recorded again and again, and knows its last time."""

    def elapsed_ms(self, first: Any, second: Any) -> float:
        """Milliseconds on the device from one event to another, which have both happened; half a microsecond exact."""

    def times_ms(self, work: Work, runs: int) -> list[float]:
        """What each of these calls took on the device, in milliseconds, by events on the stream."""

    def close(self, lent: Sequence[Array] = ()) -> None:
        """Give back stream, events and context; never raises `Error`.

        `lent` is page-locked memory that the app still reads: it goes with the last that has it, then the context.
        """

    def let_go(self) -> None:
        """Leave the thread; nothing is under way. Another one may `take` it."""

    def take(self) -> None:
        """Come into this thread, which uses the device from now on."""

    def leave(self) -> None:
        """Give nothing back, since that would wait for what hangs; only be out of the thread's way."""


def wait(device: Device, timeout_s: float | None) -> bool:
    """Wait for the last mark; False after `timeout_s` seconds. Raises SessionError with the driver's words."""
    try:
        if timeout_s is None:
            device.synchronise()
            return True
        deadline = time.perf_counter() + timeout_s
        while not device.done():
            if time.perf_counter() > deadline:
                return False
            time.sleep(_POLL_S)
    except device.Error as error:
        raise reported(error) from error
    return True


def free_memory(device: Device) -> str:
    """How much memory the device has left, for an error's message."""
    try:
        free, total = device.mem_info()
    except device.Error:
        return "none free"
    return f"{free / 2**20:.1f} of {total / 2**20:.0f} MiB free"


def reported(error: Exception) -> SessionError:
    """An error of the driver as ours."""
    return SessionError(f"the GPU reported: {error}", "a new process if it says so again, or --backend ort")


def when_unused(array: Array, action: Callable[[Any], None], argument: Any) -> None:
    """Call `action(argument)` once nobody has the array or a view of it any more; not at the interpreter's end."""
    weakref.finalize(array, action, argument).atexit = False


def keep_for_good(thing: object) -> None:
    """Let a thing outlive the interpreter: to free it would wait for what hangs."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
