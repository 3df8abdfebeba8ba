"""TensorRT 10, 11 and TensorRT-RTX: one engine, one context, one stream, buffers bound once.

Written for a GPU and not yet run on one: see the limits in the README. `import` of this module needs no GPU.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekit.errors import SessionError, TargetError
from edgekit.runtime.backend import Array, Shapes
from edgekit.runtime.memory import CudaMemory
from edgekit.specs import TensorSpec


class TensorRTBackend:
    """Runs a verified engine; `flavour` is `tensorrt` or `tensorrt_rtx`, `plugins` the verified bytes of the library
    whose plugins it needs, if any."""

    def __init__(self, engine: bytes, flavour: str, specs: tuple[TensorSpec, ...], plugins: bytes = b"") -> None:
        self.name = "rtx" if flavour == "tensorrt_rtx" else "trt"
        self._trt = _import(flavour)
        self._memory = CudaMemory()
        self.device = self._memory.device
        self._dtypes = {spec.name: spec.dtype for spec in specs}
        load_plugins(self._trt, plugins)
        runtime = self._trt.Runtime(self._trt.Logger(self._trt.Logger.ERROR))
        # An engine may carry host code; nothing of ours needs it, so nothing may bring it.
        runtime.engine_host_code_allowed = False
        self._engine = runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            self._memory.close()
            raise TargetError(
                f"{flavour} {self._trt.__version__} on {self.device} cannot load the engine",
                "build it for this device with edgekit build-engine, or --backend ort",
            )
        self._context = self._engine.create_execution_context()
        self._host: dict[str, Array] = {}
        self._device_buffers: dict[str, Any] = {}
        self._input_names: tuple[str, ...] = ()

    def bind(self, inputs: Shapes, outputs: Mapping[str, tuple[int, ...] | None]) -> None:
        """Allocate pinned host and device buffers and give TensorRT their addresses."""
        self._memory.synchronise(None)
        self._input_names = tuple(inputs)
        for name, shape in inputs.items():
            if not self._context.set_input_shape(name, shape):
                raise SessionError(f"{name}: the engine's profile does not hold the shape {list(shape)}")
        for name, expected in {**inputs, **outputs}.items():
            shape = expected if expected is not None else tuple(self._context.get_tensor_shape(name))
            if min(shape, default=1) < 0:
                raise SessionError(f"{name}: its shape depends on the data, which this backend cannot bind")
            self._host[name], self._device_buffers[name] = self._memory.buffers(shape, self._dtypes[name])
            self._context.set_tensor_address(name, int(self._device_buffers[name]))

    def input(self, name: str) -> Array:
        """The pinned host buffer of an input."""
        return self._host[name]

    def output(self, name: str) -> Array:
        """The pinned host buffer of an output."""
        return self._host[name]

    def enqueue(self) -> None:
        """Copy in, compute and copy out on the one stream; returns before they are done."""
        for name in self._input_names:
            self._memory.to_device(self._device_buffers[name], self._host[name])
        if not self._context.execute_async_v3(self._memory.stream_handle):
            raise SessionError(f"{self.name}: TensorRT could not enqueue the inference")
        for name in self._host.keys() - set(self._input_names):
            self._memory.to_host(self._host[name], self._device_buffers[name])
        self._memory.mark()

    def synchronise(self, timeout_s: float | None) -> bool:
        """Wait for the stream."""
        return self._memory.synchronise(timeout_s)

    def close(self) -> None:
        """Context before engine before memory: the reverse of how they were made."""
        self._memory.synchronise(None)
        del self._context
        del self._engine
        self._host, self._device_buffers = {}, {}
        self._memory.close()


def load_plugins(trt: Any, library: bytes) -> None:
    """Make TensorRT know the plugins of a library: the bytes that were verified, from a file that no one else sees.

    Raises TargetError where it does not load.
    """
    if not library:
        return
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:  # of this user alone; a loaded library outlives it
        path = Path(folder, "plugins.so")
        path.write_bytes(library)
        if trt.get_plugin_registry().load_library(str(path)) is None:
            raise TargetError(
                f"expected TensorRT {trt.__version__} to load the bundle's plugins, which it did not", "--backend ort"
            )


def _import(flavour: str) -> Any:
    """The module, or a TargetError that says what to install."""
    try:
        module = importlib.import_module(flavour)
    except ImportError:
        module = None
    if not hasattr(module, "Runtime"):
        package = "pip install tensorrt-rtx-cu13" if flavour == "tensorrt_rtx" else "TensorRT's Python package"
        raise TargetError(
            f"expected the module {flavour} to run the engine, found none", f"{package}, or --backend ort"
        )
    return module
