"""TensorRT 10, 11 and TensorRT-RTX: one engine, one context, one stream, and buffers that are made once.

On an integrated GPU the host's arrays are the device's memory, and nothing is copied. `import` of this module needs no
GPU. Proved on a driver that is played (tests/runtime/fake_driver), and not yet run on a GPU: see the README's limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from edgekit.errors import SessionError, first_line
from edgekit.runtime.backend import Array, OpenShapes, Shapes
from edgekit.runtime.choice import backend_of
from edgekit.runtime.cuda import open_device, reported, wait
from edgekit.runtime.cuda.device import keep_for_good
from edgekit.runtime.cuda.tensors import Tensors
from edgekit.runtime.trt_engine import Engine, Options, import_tensorrt, load_plugins
from edgekit.runtime.trt_graphs import Graphs, no_graphs
from edgekit.runtime.trt_stages import Plan, StageEvents, run_all
from edgekit.specs import TensorSpec

__all__ = ["TensorRTBackend", "load_plugins"]

_CLOSE_S = 10.0  # what is under way may take so long when a session is closed or bound anew


class TensorRTBackend:
    """Runs a verified engine; `flavour` is `tensorrt` or `tensorrt_rtx`, `plugins` the verified bytes of the library
    whose plugins it needs, if any; `carried` as in `Backend`; `cache` the folder for what TensorRT-RTX compiles.

    Raises TargetError where the device, TensorRT or the engine cannot be opened; nothing is left open then.
    """

    def __init__(
        self,
        engine: bytes,
        flavour: str,
        specs: tuple[TensorSpec, ...],
        plugins: bytes = b"",
        carried: Mapping[str, str] = {},
        cache: Path | None = None,
    ) -> None:
        import_tensorrt(flavour)
        self.name = backend_of(flavour)
        self._open = True
        self._device, api = open_device()
        self.device = self._device.name
        self.notes: dict[str, str] = {"cuda": api}
        self._carried = dict(carried)
        self._tensors = Tensors(self._device, {spec.name: spec.dtype for spec in specs}, self._carried)
        self._graphs = Graphs(self._device, self.notes, no_graphs(flavour, self._device))
        self.stages = StageEvents(self._device)
        self._engine: Engine | None = None
        self._inputs: dict[str, tuple[int, ...]] = {}
        self._outputs: tuple[str, ...] = ()
        self._plans: dict[tuple[bool, int], Plan] = {}
        self._turn = 0  # which of the two buffers of each state is its input
        self._stale: set[str] = set()  # states that the device has and the host's array has not yet
        self._written: set[str] = set()  # states whose host array the app may have written since
        self._busy = self._late = False
        try:
            options = Options(flavour, plugins, bool(carried), cache)
            self._engine = Engine(engine, specs, options, self._device)
            self._engine.save()
        except BaseException:
            self.close()
            raise
        self.notes |= self._engine.notes

    def reserve(self, shapes: Shapes) -> None:
        """Buffers of at least these shapes. Raises SessionError where memory is short: then all is as before."""
        self._settle()
        self._make(lambda: self._tensors.reserve(shapes))

    def bind(self, inputs: Shapes, outputs: OpenShapes) -> None:
        """Set the shapes, make what is too small, and give TensorRT the addresses.

        Raises ShapeError, or SessionError where memory is short: then the last binding holds.
        """
        engine = self._mine()
        self._settle()
        shapes = engine.shape(inputs, outputs, self._device.stream)
        try:
            self._make(lambda: self._tensors.shape(shapes))
        except SessionError:
            if self._inputs:
                engine.shape(self._inputs, {}, self._device.stream)
            raise
        for name, shape in inputs.items():
            before = self._inputs.get(name)
            if before == shape:
                continue
            if name not in self._carried:
                self._tensors.arrays[name][...] = 0
            elif before is not None and not self._device.integrated and name not in self._written:
                self._stale.add(name)
        self._inputs, self._outputs = dict(inputs), tuple(outputs)
        self._forget()

    def input(self, name: str) -> Array:
        """The host's array of an input: page-locked, or the device's own memory on an integrated GPU."""
        if name in self._carried:
            self._refresh(name)
            self._written.add(name)
        return self._tensors.arrays[name]

    def output(self, name: str) -> Array:
        """The host's array of an output."""
        return self._tensors.arrays[name]

    def enqueue(self, *, step: bool = False) -> None:
        """Copy in, compute and copy out on the one stream; returns before they are done."""
        self._mine()
        self._busy = True
        try:
            self._start(step)
        except self._device.Error as error:
            raise reported(error) from error

    def synchronise(self, timeout_s: float | None) -> bool:
        """Wait for the stream; False after `timeout_s`. Errors of the device arrive here."""
        self._mine()
        ended = wait(self._device, timeout_s)
        self._busy, self._late = self._busy and not ended, not ended
        return ended

    def advance(self) -> None:
        """The two buffers of each state change places; not a byte is copied."""
        for name, output in self._carried.items():
            self._tensors.swap(name, output)
        self._turn = 1 - self._turn
        self._stale = set() if self._device.integrated else set(self._carried)
        self._written.clear()

    def reset(self) -> None:
        """Zero the carried inputs on the device, before the next inference."""
        self._mine()
        self._busy = True
        try:
            for name in self._carried:
                self._tensors.zero(name)
            self._device.mark()
        except self._device.Error as error:
            raise reported(error) from error
        self._stale.clear()
        self._written.clear()

    def state(self, name: str) -> Array:
        """A copy of a carried input, fetched from the device."""
        self._mine()
        self._refresh(name)
        copied: Array = self._tensors.arrays[name].copy()
        return copied

    def let_go(self) -> None:
        """Leave the thread, once what is under way has ended."""
        self._settle()
        self._device.let_go()

    def take(self) -> None:
        """Come into this thread."""
        self._device.take()

    def close(self) -> None:
        """Give everything back. What still runs after a timeout is left alone, and `notes["close"]` says so."""
        if not self._open:
            return
        self._open = False
        self.stages.close()
        if not self._ended():
            self.notes["close"] = f"an inference is still running on {self.device}: its memory is left to the process"
            keep_for_good((self._engine, self._tensors, self._graphs))
            self._engine = None
            self._device.leave()
            return
        lent: list[Array] = []
        try:
            self._device.mem_info()  # raises after a sticky error, when nothing can be given back by itself
            lent = self._give_back()
        except self._device.Error as error:
            self.notes["close"] = f"left to the driver: {first_line(error)}"
        if lent:
            self.notes["close"] = f"{len(lent)} arrays of this session are in use: their memory goes with them"
        self._engine = None
        self._device.close(lent)

    def _give_back(self) -> list[Array]:
        self._drop_plans()
        self._graphs.forget()
        if self._engine is not None:
            self._engine.save()
            self.notes |= self._engine.notes
            self._engine.close()
        return self._tensors.close()

    def _ended(self) -> bool:
        """Whether nothing runs any more; waits for what has not been late yet."""
        try:
            return not self._busy or wait(self._device, 0.0 if self._late else _CLOSE_S)
        except SessionError:
            return True  # it ended with an error

    def _mine(self) -> Engine:
        if self._engine is None:
            raise SessionError("expected an open session, found it closed", "Session.open(bundle)")
        return self._engine

    def _settle(self) -> None:
        """Nothing may run while what it uses is changed."""
        if self._busy and not self.synchronise(_CLOSE_S):
            raise SessionError(f"expected the inference to end within {_CLOSE_S:g} s, found it running still")

    def _make(self, make: Callable[[], bool]) -> None:
        """Run what may make memory anew, after which addresses are others."""
        self._drop_plans()  # which hold views of what may go
        try:
            grown = make()
        except self._device.Error as error:
            raise reported(error) from error
        if grown:
            self._forget()

    def _drop_plans(self) -> None:
        """Empty them too: the traceback of an error that is still in flight may have one."""
        while self._plans:
            self._plans.popitem()[1].clear()

    def _forget(self) -> None:
        self._drop_plans()
        try:
            self._graphs.forget()
        except self._device.Error as error:
            raise reported(error) from error

    def _plan(self, step: bool) -> Plan:
        """What to copy on this turn: in a step, states stay where they are."""
        still = {*self._carried, *self._carried.values()} if step else set()
        copies_in = self._tensors.copies_in(name for name in self._inputs if name not in self._carried)
        copies_out = self._tensors.copies_out(name for name in self._outputs if name not in still)
        plan = self._plans[step, self._turn] = Plan(copies_in, copies_out, self._tensors.addresses)
        return plan

    def _start(self, step: bool) -> None:
        plan = self._plans.get((step, self._turn)) or self._plan(step)
        try:
            self.stages.begin()
            if self._carried:
                self._hand_over(step)
            if self.stages.on:
                self._enqueue(plan)
            else:
                self._graphs.run((step, self._turn), lambda: self._enqueue(plan))
        finally:
            self._device.mark()  # also of what was enqueued before something failed

    def _enqueue(self, plan: Plan) -> None:
        plan.enqueue(self._mine(), self._device.stream, self.stages.stamp)

    def _hand_over(self, step: bool) -> None:
        """Copy in the states that the host has: by hand all of them, in a step those that the app may have written."""
        names = [name for name in self._carried if name in self._written or not (step or name in self._stale)]
        run_all(self._tensors.copies_in(names))
        self._written.clear()

    def _refresh(self, name: str) -> None:
        """Bring a state to the host's array where only the device has it."""
        if name not in self._stale:
            return
        self._settle()
        try:
            run_all(self._tensors.copies_out([name]))
            self._device.synchronise()
        except self._device.Error as error:
            raise reported(error) from error
        self._stale.discard(name)
