"""One backend at work: who may call it, what is under way, what failed, and who takes over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Set
from typing import Any, NamedTuple

from edgekit.errors import EdgekitError, SessionError
from edgekit.runtime.backend import Backend, OpenShapes, Shapes
from edgekit.runtime.counters import Counters
from edgekit.runtime.sizes import Sizes


class Timing(NamedTuple):
    """When one inference started and ended, from `time.perf_counter_ns`."""

    start_ns: int
    end_ns: int

    @property
    def compute_ms(self) -> float:
        """Milliseconds from submit to completion."""
        return (self.end_ns - self.start_ns) / 1e6


class Ticket(NamedTuple):
    """An inference under way, to be waited for."""

    number: int
    start_ns: int
    step: bool


class Runner:
    """Belongs to the thread that made it, until that hands it over.

    `fallback` makes the backend that takes over after a failure; `let_go` is called when nobody needs it any more.
    """

    def __init__(
        self,
        backend: Backend,
        fallback: Callable[[], Backend] | None = None,
        let_go: Callable[[], object] = lambda: None,
    ) -> None:
        self.counters = Counters()
        self.degraded = self.last_error = ""
        self.bindings = 0  # how often tensors got other memory or shapes: views from before are no longer read
        self.name, self.device = backend.name, backend.device
        self._backend: Backend | None = backend
        self._fallback, self._let_go = fallback, let_go
        self._left: list[Backend] = []
        self._owner: int | None = threading.get_ident()
        self._running: Ticket | None = None
        self._number = 0
        self._hung = False
        self._shapes: tuple[Shapes, OpenShapes] = ({}, {})
        self._carried: Set[str] = set()

    def mine(self) -> Backend:
        """The backend; SessionError when it is closed, called from another thread, or still at work."""
        if self._backend is None:
            raise SessionError("expected an open session, found it closed", "Session.open(bundle)")
        if threading.get_ident() != self._owner:
            self._take(self._backend)
        if self._running is not None:
            raise SessionError("expected the inference under way to be waited for first, found it running", "wait")
        return self._backend

    def hand_over(self) -> None:
        """Belong to the next thread that calls."""
        for each in (self.mine(), *reversed(self._left)):  # the last that came is the first that goes
            each.let_go()
        self._owner = None

    def bind_to(self, sizes: Sizes, dims: Mapping[str, int] = {}) -> None:
        """Set these sizes, and give all tensors the shapes that follow, unless they have them."""
        if not sizes.changes(dims):
            return
        now, before = {**sizes.dims, **dims}, (self._shapes, self._carried)
        self._shapes, self._carried = (sizes.inputs_at(now), sizes.outputs_at(now)), sizes.carried
        try:
            self._bind()
        except EdgekitError:  # such as ShapeError of an engine: the last binding holds
            self._shapes, self._carried = before
            raise
        sizes.dims, sizes.stale = now, False
        self.bindings += 1

    def _bind(self) -> None:
        backend = self.mine()
        try:
            backend.bind(*self._shapes)
        except SessionError as error:  # such as memory that is short
            self._replace(error, set())

    def submit(self, *, step: bool = False) -> Ticket:
        """Start one inference; a backend that cannot is replaced, where there is another."""
        backend = self.mine()
        self._number += 1
        ticket = Ticket(self._number, time.perf_counter_ns(), step)
        try:
            backend.enqueue(step=step)
        except SessionError as error:
            self._replace(error, self._kept(step)).enqueue(step=step)
        self._running = ticket
        return ticket

    def wait(self, ticket: Ticket, timeout_s: float | None = None) -> Timing:
        """Wait until the inference is done; SessionError after `timeout_s` seconds: then it can be waited for again."""
        if self._running is None or ticket != self._running:
            raise SessionError("expected the ticket of the inference under way, found another")
        self._check_owner()
        self._running = None
        backend = self.mine()
        try:
            done = backend.synchronise(timeout_s)
        except SessionError as error:
            backend = self._replace(error, self._kept(ticket.step))
            backend.enqueue(step=ticket.step)
            done = backend.synchronise(timeout_s)
        self._hung = not done
        if not done:
            self._running = ticket
            self.counters.timeouts += 1
            raise SessionError(f"expected the inference to end within {timeout_s:g} s, found it running still")
        timing = Timing(ticket.start_ns, time.perf_counter_ns())
        self.counters.runs += 1
        self.counters.compute_ms.add(timing.compute_ms)
        return timing

    def execute(self, *, step: bool = False) -> Timing:
        """Run once on the bound buffers."""
        return self.wait(self.submit(step=step))

    def health(self) -> dict[str, Any]:
        """What state it is in, and what happened so far."""
        counters = self.counters
        return {
            "state": self._state(),
            "degraded": self.degraded,
            "last_error": self.last_error,
            "runs": counters.runs,
            "errors": counters.errors,
            "timeouts": counters.timeouts,
            **(self._backend.notes if self._backend is not None else {}),
        }

    def close(self) -> None:
        """Give all backends back, from the owner's thread; an inference that hangs is left alone."""
        if self._backend is None:
            return
        self._check_owner()
        self._running = None
        backend = self.mine()
        self._backend = None
        self._let_go()
        for each in (backend, *self._left):
            each.close()
        self._left.clear()

    def _check_owner(self) -> None:
        if self._owner not in (None, threading.get_ident()):
            raise SessionError("expected calls from the thread that opened the session, found another thread")

    def _take(self, backend: Backend) -> None:
        """Belong to this thread, if there is none that it belongs to."""
        self._check_owner()
        self._owner = threading.get_ident()
        for each in (*self._left, backend):
            each.take()

    def _state(self) -> str:
        if self._backend is None:
            return "closed"
        if self._hung:
            return "hung"
        if self._running is not None:
            return "running"
        return "degraded" if self.degraded else "ready"

    def _kept(self, step: bool) -> Set[str]:
        """The inputs whose values the host has: in a step, states are the device's, and go with it."""
        return self._shapes[0].keys() - (self._carried if step else set())

    def _replace(self, error: EdgekitError, kept: Set[str]) -> Backend:
        """The backend that takes over, with the same shapes and the inputs `kept`; the rest begins at zero.

        Raises `error` where there is no other, and what the other raises where it cannot be opened or bound: it may be
        tried again. The failed one stays until `close`: an app may still hold views of its memory.
        """
        failed = self.mine()
        self.counters.errors += 1
        self.last_error = error.problem
        if self._fallback is None:
            raise error
        inputs, outputs = self._shapes
        replacement = self._fallback()
        try:
            replacement.bind(inputs, outputs)
            for name in kept:
                replacement.input(name)[...] = failed.input(name)
        except BaseException:
            replacement.close()
            raise
        self._fallback = None
        self._let_go()
        self._left.append(failed)
        self._backend = replacement
        self.name, self.device = replacement.name, replacement.device
        self.bindings += 1
        self.counters.degradations += 1
        self.degraded = f"{failed.name} failed: {error.problem}; {replacement.name} took over"
        return replacement
