"""Plays TensorRT and TensorRT-RTX to the runtime: an engine is an ONNX model that onnxruntime computes on the addresses
that were bound, as a call in the fake driver's stream, in its turn and captured like a kernel.

It refuses what the real one refuses: no shape, no address, a shape outside the profile, host code. A real engine and
context hold device memory, and so do these.
"""

from __future__ import annotations

import ctypes
import enum
import importlib.machinery
import json
import sys
import types as python_types
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
import onnxruntime

# Behind the four bytes that tell the flavour: a layout that tells nothing else, and who made it.
_MAGIC = b"\1\0\0\0stand-in engine\0"
_SINGLE = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF", "tensor(int32)": "INT32", "tensor(int64)": "INT64"}
_SINGLE |= {"tensor(bool)": "BOOL", "tensor(uint8)": "UINT8", "tensor(bfloat16)": "BF16"}


class DataType(enum.Enum):
    """TensorRT's types; BF16 is the one that NumPy has not."""

    FLOAT, HALF, INT32, INT64, BOOL, UINT8, BF16 = "float32", "float16", "int32", "int64", "bool", "uint8", "bfloat16"


class TensorIOMode(enum.Enum):
    """As TensorRT's."""

    NONE, INPUT, OUTPUT = range(3)


class TensorLocation(enum.Enum):
    """As TensorRT's."""

    DEVICE, HOST = range(2)


class CudaGraphStrategy(enum.Enum):
    """As TensorRT-RTX's."""

    DISABLED, WHOLE_GRAPH_CAPTURE = range(2)


class Severity(enum.Enum):
    """As TensorRT's."""

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


@dataclass(frozen=True)
class Recipe:
    """What an engine is besides its model."""

    profiles: list[dict[str, list[list[int]]]] = field(default_factory=list)
    data_dependent: list[str] = field(default_factory=list)
    on_host: list[str] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)  # other than the model's
    weights: int = 1000
    activations: int = 3000
    refuses_to_run: bool = False


def make_engine(model: bytes, **recipe: Any) -> bytes:
    """The bytes of an engine."""
    return b"ftrt" + _MAGIC + json.dumps(asdict(Recipe(**recipe))).encode() + b"\0" + model


def nptype(dtype: DataType) -> type:
    """NumPy's type, or TypeError, as in TensorRT."""
    if dtype is DataType.BF16:
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    return np.dtype(dtype.value).type


class ILogger:
    """A base class, as in TensorRT; one whose own __init__ was not called does not work there either."""

    Severity = Severity

    def __init__(self) -> None:
        self.ready = True


class _Memory:
    """Device memory that goes with its owner; where that is too late, the fake driver counts it as misuse."""

    def __init__(self, size: int) -> None:
        self.address = ctypes.c_uint64()
        self._cuda = ctypes.CDLL("libcuda.so.1")
        self.ok = not self._cuda.cuMemAlloc_v2(ctypes.byref(self.address), ctypes.c_size_t(size))

    def __del__(self) -> None:
        if self.ok and self._cuda.cuMemFree_v2(self.address) in (1, 201, 709):  # broken is no fault of the order
            self._cuda.fake_set(b"misuse", self._cuda.fake_get(b"misuse") + 1)


class Runtime:
    """Deserialises only where no host code is allowed."""

    def __init__(self, logger: ILogger) -> None:
        assert logger.ready
        self._logger = logger
        self.engine_host_code_allowed = True

    def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
        """An Engine, or None with a logged reason."""
        if not content[4:].startswith(_MAGIC) or self.engine_host_code_allowed:
            self._logger.log(Severity.WARNING, "a warning that nobody needs")
            self._logger.log(Severity.ERROR, "IRuntime::deserializeCudaEngine: Error Code 1:\n Serialization ")
            return None
        recipe, model = content[4 + len(_MAGIC) :].split(b"\0", 1)
        engine = Engine(self._logger, Recipe(**json.loads(recipe)), model)
        if not engine.memory.ok:
            self._logger.log(Severity.INTERNAL_ERROR, "Error Code 2: OutOfMemory (requested the weights)")
            return None
        return engine


class Engine:
    """What of ICudaEngine the runtime uses."""

    def __init__(self, logger: ILogger, recipe: Recipe, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.logger, self.recipe = logger, recipe
        self.inputs = {item.name: item for item in self.session.get_inputs()}
        self.outputs = {item.name: item for item in self.session.get_outputs()}
        self.tensors = {**self.inputs, **self.outputs}
        self.memory = _Memory(recipe.weights)
        self.num_io_tensors = len(self.tensors)
        self.num_optimization_profiles = max(len(recipe.profiles), 1)

    def get_tensor_name(self, index: int) -> str:
        """As TensorRT's."""
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        """As TensorRT's."""
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        """As TensorRT's."""
        return DataType[self.recipe.types.get(name, _SINGLE[self.tensors[name].type])]

    def get_tensor_location(self, name: str) -> TensorLocation:
        """As TensorRT's."""
        return TensorLocation.HOST if name in self.recipe.on_host else TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[list[int]]:
        """As TensorRT's; what is no profile's is fixed."""
        given = self.recipe.profiles[profile].get(name) if self.recipe.profiles else None
        return given or [list(self.inputs[name].shape)] * 3

    def create_execution_context(self) -> Context | None:
        """A Context, or None with a logged reason."""
        context = Context(self)
        if not context.memory.ok:
            self.logger.log(Severity.ERROR, "IExecutionContext: Error Code 2: OutOfMemory (requested the activations)")
            return None
        return context


class Context:
    """What of IExecutionContext the runtime uses."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.memory = _Memory(engine.recipe.activations)
        self.profile = 0
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self._cuda = ctypes.CDLL("libcuda.so.1")
        self._known: dict[Any, dict[str, tuple[int, ...]]] = {}
        self._kernels: dict[Any, Any] = {}

    def _refuse(self, words: str) -> bool:
        self.engine.logger.log(Severity.ERROR, words)
        return False

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        """As TensorRT's: the shapes are to be set anew, and to be sure the addresses too."""
        if not 0 <= profile < self.engine.num_optimization_profiles or not stream:
            return self._refuse(f"profile {profile} does not exist")
        self.profile, self.shapes, self.addresses = profile, {}, {}
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """As TensorRT's: only what the active profile holds."""
        low, _, high = self.engine.get_tensor_profile_shape(name, self.profile)
        if len(low) != len(shape) or not all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
            return self._refuse(f"setInputShape: {name} does not hold {shape}")
        self.shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        """As TensorRT's."""
        if name not in self.engine.tensors:
            return self._refuse(f"setTensorAddress: unknown tensor {name}")
        self.addresses[name] = address
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """As TensorRT's: -1 where the shape is not known yet, or depends on the data."""
        if name in self.shapes:
            return self.shapes[name]
        if name in self.engine.recipe.data_dependent or self.shapes.keys() != self.engine.inputs.keys():
            return tuple(size if isinstance(size, int) else -1 for size in self.engine.tensors[name].shape)
        key = tuple(sorted(self.shapes.items()))
        if key not in self._known:
            zeros = {item: np.zeros(shape, self._numpy(item)) for item, shape in self.shapes.items()}
            made = self.engine.session.run(None, zeros)
            self._known[key] = {item: array.shape for item, array in zip(self.engine.outputs, made, strict=True)}
        return self._known[key][name]

    def execute_async_v3(self, stream: int) -> bool:
        """Enqueue the call with the shapes and addresses of now, as a kernel gets its arguments."""
        missing = [name for name in self.engine.tensors if not self.addresses.get(name)]
        if missing or self.shapes.keys() != self.engine.inputs.keys() or self.engine.recipe.refuses_to_run:
            return self._refuse(f"enqueueV3: Error Code 3: no address or shape of {', '.join(missing) or 'an input'}")
        shapes = {name: self.get_tensor_shape(name) for name in self.engine.tensors}
        key = tuple((name, shapes[name], self.addresses[name]) for name in shapes)
        if key not in self._kernels:
            self._kernels[key] = _KERNEL(_kernel(self.engine, key))
        failed = self._cuda.cuLaunchHostFunc(ctypes.c_void_p(stream), self._kernels[key], None)
        return not failed or self._refuse(f"Cuda Runtime error {failed}")

    def _numpy(self, name: str) -> np.dtype[Any]:
        return np.dtype(nptype(self.engine.get_tensor_dtype(name)))


def _kernel(engine: Engine, bound: tuple[tuple[str, tuple[int, ...], int], ...]) -> Callable[[Any], None]:
    """What runs in the stream; it knows the engine, but not the context, which is to go when the runtime drops it."""
    cuda, session, inputs, outputs = (
        ctypes.CDLL("libcuda.so.1"),
        engine.session,
        list(engine.inputs),
        list(engine.outputs),
    )
    types = {name: np.dtype(nptype(engine.get_tensor_dtype(name))) for name, _, _ in bound}

    def compute(_: Any) -> None:
        views = {}
        for name, shape, address in bound:
            size = max(int(np.prod(shape)) * types[name].itemsize, 1)
            if not cuda.fake_holds(ctypes.c_uint64(address), ctypes.c_size_t(size)):
                cuda.fake_set(b"misuse", cuda.fake_get(b"misuse") + 1)
                cuda.fake_set(b"broken", 1)
                return
            views[name] = np.asarray(_At(address, shape, types[name]))
        made = session.run(None, {name: views[name] for name in inputs})
        for name, array in zip(outputs, made, strict=True):
            views[name][...] = array

    return compute


_KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _At:
    def __init__(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.__array_interface__ = {"data": (address, False), "shape": shape, "typestr": dtype.str, "version": 3}


# ---- what TensorRT-RTX has besides


class RuntimeCache:
    """Compiled kernels: takes what was made under the same version."""

    VERSION = b"kernels of 1.7:"

    def __init__(self) -> None:
        self.content = self.VERSION

    def deserialize(self, blob: bytes) -> bool:
        """Whether the bytes fit."""
        if not bytes(blob).startswith(self.VERSION):
            return False
        self.content = bytes(blob)
        return True

    def serialize(self) -> bytearray | None:
        """A buffer of its bytes."""
        return bytearray(self.content) if self.content else None


class RuntimeConfig:
    """As IRuntimeConfig: a name that it has not cannot be set."""

    __slots__ = ("cache", "cuda_graph_strategy")

    def __init__(self) -> None:
        self.cuda_graph_strategy = CudaGraphStrategy.DISABLED
        self.cache: RuntimeCache | None = None

    def create_runtime_cache(self) -> RuntimeCache:
        """An empty one."""
        return RuntimeCache()

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        """As TensorRT-RTX's."""
        self.cache = cache
        return True


class RtxEngine(Engine):
    """An Engine that compiles when a context is made."""

    compiled: ClassVar[list[str]] = []
    strategies: ClassVar[list[CudaGraphStrategy]] = []

    def create_runtime_config(self) -> RuntimeConfig:
        """As TensorRT-RTX's."""
        return RuntimeConfig()

    def create_execution_context(self, config: RuntimeConfig) -> Context | None:
        """Compiles what the cache has not."""
        cache = config.cache
        self.strategies.append(config.cuda_graph_strategy)
        if cache is not None and cache.content == cache.VERSION:
            self.compiled.append("all")
            cache.content += b" convolution, product"
        return super().create_execution_context()


class RtxRuntime(Runtime):
    """Makes an RtxEngine."""

    def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
        """See Runtime."""
        engine = super().deserialize_cuda_engine(content)
        if engine is not None:
            engine.__class__ = RtxEngine
        return engine


def install() -> None:
    """Let `import tensorrt` and `import tensorrt_rtx` find these, in this process."""
    common = [DataType, TensorIOMode, TensorLocation, ILogger, nptype]
    for name, version, special in (
        ("tensorrt", "11.1.0", [Runtime]),
        ("tensorrt_rtx", "1.7.1", [CudaGraphStrategy]),
    ):
        module = python_types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, origin="stand-in")
        module.__version__ = version  # type: ignore[attr-defined]
        for item in (*common, *special):
            setattr(module, item.__name__, item)
        sys.modules[name] = module
    sys.modules["tensorrt_rtx"].Runtime = RtxRuntime  # type: ignore[attr-defined]
