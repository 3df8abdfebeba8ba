"""An engine of TensorRT 10, 11 or TensorRT-RTX with its one execution context: loading, profiles and shapes."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import SessionError, ShapeError, TargetError
from edgekit.runtime.backend import OpenShapes, Shapes
from edgekit.runtime.cuda import Device
from edgekit.runtime.cuda.device import free_memory
from edgekit.runtime.trt_cache import CacheFile
from edgekit.specs import TensorSpec

_WHOLE_GRAPH = "TensorRT-RTX captures the whole graph itself"
_NO_GRAPH = "none: a carried state changes its address at every step, and TensorRT-RTX would capture anew each time"


@dataclass(frozen=True)
class Options:
    """How an engine is opened. `changing`: addresses will change between runs; `cache` None: the user's own folder."""

    flavour: str
    plugins: bytes
    changing: bool
    cache: Path | None


class Engine:
    """Raises TargetError where TensorRT is missing or refuses the engine, SessionError where the bundle's tensors are
    not the engine's; what TensorRT logged is part of the message."""

    def __init__(self, content: bytes, specs: tuple[TensorSpec, ...], options: Options, device: Device) -> None:
        self._trt = trt = import_tensorrt(options.flavour)
        self._label = f"{options.flavour} {trt.__version__}"
        self._log = _make_log(trt)
        self._cache = CacheFile(options.cache, content, self._label, device.name)
        self.notes: dict[str, str] = {}
        self._runtime_cache: Any = None
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._profile = 0
        try:
            load_plugins(trt, options.plugins)
            self._load(content, options, device)
            self._check(specs)
            self._ranges = self._read_ranges([spec.name for spec in specs])
        except BaseException:
            self.close()
            raise

    def _load(self, content: bytes, options: Options, device: Device) -> None:
        self._runtime = self._trt.Runtime(self._log)
        # An engine may carry host code; nothing of ours needs it, so nothing may bring it.
        self._runtime.engine_host_code_allowed = False
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise self._refusal("cannot load the engine", device)
        self._context = self._make_context(options)
        if self._context is None:
            raise self._refusal("cannot make an execution context", device)

    def shape(self, inputs: Shapes, outputs: OpenShapes, stream: int) -> dict[str, tuple[int, ...]]:
        """Choose a profile, set the input shapes and return the shapes of all tensors.

        Raises ShapeError where no profile holds them, SessionError where an output is not as expected.
        """
        before = dict(self._shapes)
        try:
            self._set(inputs, stream)
            return {**inputs, **{name: self._output(name, expected) for name, expected in outputs.items()}}
        except SessionError:
            self._set(before, stream)
            raise

    def address(self, name: str, address: int) -> None:
        """Tell TensorRT where a tensor is, unless it knows."""
        if self._addresses.get(name) != address:
            if not self._context.set_tensor_address(name, address):
                raise self._failure(f"takes no address for {name}")
            self._addresses[name] = address

    def enqueue(self, stream: int) -> None:
        """Start the inference. Raises SessionError where TensorRT cannot."""
        if not self._context.execute_async_v3(stream):
            raise self._failure("could not enqueue the inference")

    def save(self) -> None:
        """Keep what TensorRT-RTX compiled for the next start."""
        if self._runtime_cache is not None and (made := self._runtime_cache.serialize()) is not None:
            self._cache.write(bytes(made))
            self.notes["kernel_cache"] = self._cache.note

    def close(self) -> None:
        """Context before engine before runtime: the reverse of how they were made."""
        self._context = None
        self._runtime_cache = None
        self._engine = None
        self._runtime = None

    def _make_context(self, options: Options) -> Any:
        if options.flavour != "tensorrt_rtx":  # all was compiled when it was built
            return self._engine.create_execution_context()
        config = self._engine.create_runtime_config()
        strategies = self._trt.CudaGraphStrategy
        config.cuda_graph_strategy = strategies.DISABLED if options.changing else strategies.WHOLE_GRAPH_CAPTURE
        self.notes["cuda_graph"] = _NO_GRAPH if options.changing else _WHOLE_GRAPH
        self._runtime_cache = config.create_runtime_cache()
        kept = self._cache.read()
        if kept and not self._runtime_cache.deserialize(kept):
            self._cache.note += ", which another driver made: not used"
        self.notes["kernel_cache"] = self._cache.note
        config.set_runtime_cache(self._runtime_cache)
        return self._engine.create_execution_context(config)

    def _check(self, specs: tuple[TensorSpec, ...]) -> None:
        """The tensors of the bundle are those of the engine, so that no buffer is too small."""
        found = {}
        # No name for the engine here: an error's traceback would keep it alive, longer than the device.
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            found[name] = _dtype(self._trt, self._engine.get_tensor_dtype(name))
            if self._engine.get_tensor_location(name) == self._trt.TensorLocation.HOST:
                raise SessionError(f"{name}: expected a tensor on the device, found a shape that the host gives")
        if found != (wanted := {spec.name: spec.dtype for spec in specs}):
            raise SessionError(f"expected the engine's tensors to be {_listed(wanted)}, found {_listed(found)}")

    def _read_ranges(self, names: list[str]) -> list[dict[str, tuple[tuple[int, ...], tuple[int, ...]]]]:
        """Of each profile, the least and the largest shape of each input."""
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT]
        ranges = []
        for profile in range(self._engine.num_optimization_profiles):
            shapes = {name: self._engine.get_tensor_profile_shape(name, profile) for name in inputs}
            ranges.append({name: (tuple(low), tuple(high)) for name, (low, _, high) in shapes.items()})
        return ranges

    def _set(self, inputs: Shapes, stream: int) -> None:
        profile = self._fitting(inputs)
        if profile != self._profile:
            if not self._context.set_optimization_profile_async(profile, stream):
                raise self._failure(f"refuses profile {profile}")
            self._profile, self._shapes, self._addresses = profile, {}, {}
        for name, shape in inputs.items():
            if self._shapes.get(name) != shape:
                if not self._context.set_input_shape(name, shape):
                    raise self._failure(f"refuses the shape {list(shape)} of {name}")
                self._shapes[name] = shape

    def _fitting(self, inputs: Shapes) -> int:
        """The first profile that holds the shapes."""
        for index, ranges in enumerate(self._ranges):
            if all(_holds(*ranges[name], shape) for name, shape in inputs.items()):
                return index
        held = " or ".join(
            ", ".join(f"{name} {list(low)}..{list(high)}" for name, (low, high) in ranges.items())
            for ranges in self._ranges
        )
        found = ", ".join(f"{name} {list(shape)}" for name, shape in inputs.items())
        raise ShapeError(f"expected shapes that the engine was built for, {held}, found {found}", "--backend ort")

    def _output(self, name: str, expected: tuple[int, ...] | None) -> tuple[int, ...]:
        shape = tuple(self._context.get_tensor_shape(name))
        if min(shape, default=0) < 0:
            raise SessionError(
                f"{name}: expected a shape that follows from the inputs, found one that depends on the data",
                "--backend ort",
            )
        if expected is not None and shape != expected:
            raise SessionError(f"{name}: expected {list(expected)} as the bundle says, found {list(shape)}")
        return shape

    def _refusal(self, what: str, device: Device) -> TargetError:
        return TargetError(
            f"{self._label} {what} on {device.name}, {free_memory(device)}{self._log.last()}",
            "build it for this device with edgekit build-engine, or --backend ort",
        )

    def _failure(self, what: str) -> SessionError:
        return SessionError(f"{self._label} {what}{self._log.last()}")


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


def import_tensorrt(flavour: str) -> Any:
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


def _make_log(trt: Any) -> Any:
    """A logger that keeps TensorRT's errors for our messages, instead of printing them."""
    severity = trt.ILogger.Severity

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, level: Any, message: str) -> None:
            if level in (severity.ERROR, severity.INTERNAL_ERROR):
                self.lines = [*self.lines[-2:], message.strip()]

        def last(self) -> str:
            """The last errors since one was asked for, in brackets; empty where there are none."""
            said, self.lines = self.lines, []
            return f" ({'; '.join(said)[:400]})" if said else ""

    return Log()


def _dtype(trt: Any, dtype: Any) -> str:
    """NumPy's name of a type of TensorRT, or TensorRT's own where NumPy has none."""
    try:
        return str(np.dtype(trt.nptype(dtype)))
    except TypeError:
        return str(dtype)


def _holds(low: tuple[int, ...], high: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(low) == len(shape) and all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))


def _listed(tensors: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in sorted(tensors.items()))
