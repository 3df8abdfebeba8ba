"""onnxruntime on the CPU: the backend that runs everywhere.

Buffers are bound once, so that a run copies nothing and allocates nothing of ours (io_binding: 2.3 us of overhead a
call, where `InferenceSession.run` has 4.4).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime

from edgekit.errors import SessionError, first_line
from edgekit.runtime.backend import Array, Shapes, empty_buffers
from edgekit.specs import TensorSpec

_CPU = "cpu"


class OrtBackend:
    """Runs ONNX bytes at the optimisation level at which the model was judged."""

    name = "ort"
    device = _CPU

    def __init__(self, model: bytes, optimization: str, specs: tuple[TensorSpec, ...]) -> None:
        options = onnxruntime.SessionOptions()
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = (
            levels.ORT_DISABLE_ALL if optimization == "disable_all" else levels.ORT_ENABLE_ALL
        )
        # A spinning pool steals the cores that the robot's other threads need: p50 7.1 -> 2.2 ms on a busy machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise SessionError(f"onnxruntime refuses the model: {first_line(error)}") from error
        self._dtypes = {spec.name: spec.dtype for spec in specs}
        self._inputs: dict[str, Array] = {}
        self._outputs: dict[str, Array] = {}
        self._unbound: list[str] = []

    def bind(self, inputs: Shapes, outputs: Mapping[str, tuple[int, ...] | None]) -> None:
        """Allocate and bind; an output of unknown shape is allocated by onnxruntime at each run."""
        self._inputs = empty_buffers(inputs, self._dtypes)
        self._outputs = empty_buffers(
            {name: shape for name, shape in outputs.items() if shape is not None}, self._dtypes
        )
        self._unbound = [name for name, shape in outputs.items() if shape is None]
        self._binding = self._session.io_binding()
        for name, array in self._inputs.items():
            self._binding.bind_input(name, _CPU, 0, array.dtype, array.shape, array.ctypes.data)
        self._bind_outputs()

    def _bind_outputs(self) -> None:
        """onnxruntime returns outputs in the order in which they were bound: ours first, then its own."""
        for name, array in self._outputs.items():
            self._binding.bind_output(name, _CPU, 0, array.dtype, array.shape, array.ctypes.data)
        for name in self._unbound:
            self._binding.bind_output(name, _CPU)

    def input(self, name: str) -> Array:
        """The bound array itself."""
        return self._inputs[name]

    def output(self, name: str) -> Array:
        """The bound array itself; an output of unknown shape is onnxruntime's own array of the last run."""
        if name in self._outputs:
            return self._outputs[name]
        values = self._binding.get_outputs()
        made: Array = values[len(self._outputs) + self._unbound.index(name)].numpy()
        return made

    def enqueue(self) -> None:
        """onnxruntime's CPU run is synchronous: it is done when this returns."""
        if self._unbound:
            # The binding keeps the last run's array, whose size this run need not have.
            self._binding.clear_binding_outputs()
            self._bind_outputs()
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise SessionError(f"onnxruntime failed: {first_line(error)}") from error

    def synchronise(self, timeout_s: float | None) -> bool:
        """Nothing left to wait for."""
        return True

    def close(self) -> None:
        """Drop the session and the buffers."""
        del self._session
        self._inputs, self._outputs = {}, {}


def supports(dtype: str) -> bool:
    """Whether NumPy and io_binding can hold this dtype: strings and bfloat16 cannot be bound."""
    try:
        return np.dtype(dtype).kind in "fiub"
    except TypeError:
        return False
