"""onnxruntime on the CPU: the backend that runs everywhere.

Buffers are bound once, so that a run copies nothing and allocates nothing of ours (io_binding: 2.3 us of overhead a
call, where `InferenceSession.run` has 4.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnxruntime

from edgekit.errors import SessionError, first_line
from edgekit.runtime.backend import Array, OpenShapes, Shapes
from edgekit.runtime.buffers import Buffers
from edgekit.specs import TensorSpec

_CPU = "cpu"


class OrtBackend:
    """Runs ONNX bytes at the optimisation level at which the model was judged."""

    name = "ort"
    device = _CPU

    def __init__(
        self, model: bytes, optimization: str, specs: tuple[TensorSpec, ...], carried: Mapping[str, str] = {}
    ) -> None:
        self.notes: dict[str, str] = {}
        self._session = _open(model, optimization)
        self._carried = dict(carried)
        self._buffers = Buffers({spec.name: spec.dtype for spec in specs})
        self._inputs: dict[str, tuple[int, ...]] = {}
        self._outputs: dict[str, tuple[int, ...]] = {}
        self._unbound: list[str] = []
        # A state's two blocks change places after each step: one binding for either order, made when first needed.
        self._bindings: list[Any] = [None, None]
        self._turn = 0
        self._ran: Any = None  # the binding of the last run

    def reserve(self, shapes: Shapes) -> None:
        """Blocks of at least these shapes."""
        self._buffers.reserve(shapes)

    def bind(self, inputs: Shapes, outputs: OpenShapes) -> None:
        """See the blocks at these shapes; an output of unknown shape is allocated by onnxruntime at each run."""
        changed = [name for name, shape in inputs.items() if self._inputs.get(name) != shape]
        self._inputs = dict(inputs)
        self._outputs = {name: shape for name, shape in outputs.items() if shape is not None}
        self._unbound = [name for name, shape in outputs.items() if shape is None]
        self._buffers.shape({**self._inputs, **self._outputs})
        for name in changed:
            if name not in self._carried:
                self._buffers.arrays[name][...] = 0
        self._bindings = [None, None]
        self._ran = None

    def input(self, name: str) -> Array:
        """The bound array itself."""
        return self._buffers.arrays[name]

    def output(self, name: str) -> Array:
        """The bound array itself; an output of unknown shape is onnxruntime's own array of the last run."""
        if name in self._outputs:
            return self._buffers.arrays[name]
        if self._ran is None:
            raise SessionError(f"expected a run before {name} is read, found none", "session.execute()")
        values = self._ran.get_outputs()
        made: Array = values[len(self._outputs) + self._unbound.index(name)].numpy()
        return made

    def enqueue(self, *, step: bool = False) -> None:
        """onnxruntime's CPU run is synchronous: it is done when this returns."""
        binding = self._bindings[self._turn]
        try:
            if binding is None:
                binding = self._bindings[self._turn] = self._bound()
            elif self._unbound:
                # The binding keeps the last run's array, whose size this run need not have.
                binding.clear_binding_outputs()
                self._bind_outputs(binding)
            self._session.run_with_iobinding(binding)
            self._ran = binding
        except Exception as error:
            raise SessionError(f"onnxruntime failed: {first_line(error)}") from error

    def synchronise(self, timeout_s: float | None) -> bool:
        """Nothing left to wait for."""
        return True

    def advance(self) -> None:
        """The two blocks of each state change places."""
        for name, output in self._carried.items():
            self._buffers.swap(name, output)
        self._turn = 1 - self._turn

    def reset(self) -> None:
        """Zero the carried inputs."""
        for name in self._carried:
            self._buffers.arrays[name][...] = 0

    def state(self, name: str) -> Array:
        """A copy of a carried input."""
        copied: Array = self._buffers.arrays[name].copy()
        return copied

    def let_go(self) -> None:
        """onnxruntime does not mind which thread calls."""

    take = let_go

    def close(self) -> None:
        """Drop the session and the buffers."""
        del self._session
        self._bindings = [None, None]
        self._buffers.clear()

    def _bound(self) -> Any:
        binding = self._session.io_binding()
        for name in self._inputs:
            array = self._buffers.arrays[name]
            binding.bind_input(name, _CPU, 0, array.dtype, array.shape, self._buffers.addresses[name])
        self._bind_outputs(binding)
        return binding

    def _bind_outputs(self, binding: Any) -> None:
        """onnxruntime returns outputs in the order in which they were bound: ours first, then its own."""
        for name in self._outputs:
            array = self._buffers.arrays[name]
            binding.bind_output(name, _CPU, 0, array.dtype, array.shape, self._buffers.addresses[name])
        for name in self._unbound:
            binding.bind_output(name, _CPU)


def _open(model: bytes, optimization: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_DISABLE_ALL if optimization == "disable_all" else levels.ORT_ENABLE_ALL
    )
    # A spinning pool steals the cores that the robot's other threads need: p50 7.1 -> 2.2 ms on a busy machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise SessionError(f"onnxruntime refuses the model: {first_line(error)}") from error
