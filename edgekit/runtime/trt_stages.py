"""The stages of one inference on a device, copies in, the engine, copies out, and how long each takes there.

The times are those between events on the stream (cuEventElapsedTime, CUDA Driver API, Event Management): half a
microsecond exact. They are of inferences that are enqueued piece by piece, since a CUDA graph with events in it is not
the graph that an app runs. So a stage has in it what the device waits until the host has enqueued the next piece, which
a graph saves.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from edgekit.errors import SessionError
from edgekit.runtime.cuda import Device, reported
from edgekit.runtime.cuda.device import Work

if TYPE_CHECKING:
    from edgekit.runtime.session import Session
    from edgekit.runtime.trt_engine import Engine

_EDGES = 4  # the beginning, and the end of each of the three stages


class StageTimes(NamedTuple):
    """What the stages of one inference took on the device, in ms; on an integrated GPU nothing is copied: None."""

    h2d_ms: float | None
    compute_ms: float
    d2h_ms: float | None


class StageEvents:
    """As a context: times each inference that a session or a backend runs meanwhile, none as a CUDA graph of ours.

    The four events are made at the first entry, and given back with the device. To enter raises SessionError with the
    driver's words where it cannot make them.
    """

    def __init__(self, device: Device) -> None:
        self.copied = not device.integrated  # whether host and device have memory of their own
        self.on = False
        self._device = device
        self._events: list[Any] = []
        self._stamped = 0

    def __enter__(self) -> StageEvents:
        try:
            while len(self._events) < _EDGES:
                self._events.append(self._device.event())
        except self._device.Error as error:
            raise reported(error) from error
        self.on, self._stamped = True, 0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.on = False

    def begin(self) -> None:
        """An inference is about to be enqueued."""
        self._stamped = 0
        self.stamp()

    def stamp(self) -> None:
        """Enqueue the next event; nothing where no times are wanted."""
        if self.on:
            self._device.record(self._events[self._stamped])
            self._stamped += 1

    def times(self) -> StageTimes:
        """Of the last inference, which has been waited for; once.

        Raises SessionError where none was timed since, or with the driver's words, such as that it still runs.
        """
        if self._stamped < _EDGES:
            raise SessionError("expected an inference whose stages were timed, found none since", "session.execute()")
        self._stamped = 0
        try:
            spent = [self._device.elapsed_ms(*pair) for pair in itertools.pairwise(self._events)]
        except self._device.Error as error:
            raise reported(error) from error
        h2d_ms, compute_ms, d2h_ms = spent
        return StageTimes(h2d_ms, compute_ms, d2h_ms) if self.copied else StageTimes(None, compute_ms, None)

    def close(self) -> None:
        """The device is about to take its events back."""
        self.on, self._stamped = False, 0
        self._events.clear()


@runtime_checkable
class Staged(Protocol):
    """A backend whose stages can be timed on its device."""

    stages: StageEvents


def stage_events(session: Session) -> StageEvents | None:
    """What times the stages of this session's inferences on its device; None where the host computes.

    Raises SessionError where the session is closed, at work, or another thread's.
    """
    backend = session._runner.mine()
    return backend.stages if isinstance(backend, Staged) else None


@dataclass
class Plan:
    """What one inference enqueues: copies, the engine at these addresses, copies."""

    copies_in: list[Work]
    copies_out: list[Work]
    addresses: dict[str, int]

    def enqueue(self, engine: Engine, stream: int, stamp: Work) -> None:
        """All of it, with a stamp at the end of each stage."""
        for name, address in self.addresses.items():
            engine.address(name, address)
        run_all(self.copies_in)
        stamp()
        engine.enqueue(stream)
        stamp()
        run_all(self.copies_out)
        stamp()

    def clear(self) -> None:
        """Let go of the memory that it copies."""
        self.copies_in.clear()
        self.copies_out.clear()


def run_all(copies: list[Work]) -> None:
    """Enqueue them, one behind the other."""
    for copy in copies:
        copy()
