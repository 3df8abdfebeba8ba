"""A `tensorrt` of a few lines: it parses, builds and caches nothing, and remembers how it was asked.

It stands in for the versions that no development machine has, so that what we ask of them is seen; what they answer is
made up, and no test draws a conclusion about TensorRT from it.
"""

from __future__ import annotations

import json
from enum import Enum, IntEnum
from types import SimpleNamespace
from typing import Any

INSPECTED = {
    "Layers": [
        {
            "Name": "conv",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "x", "Dimensions": [1, 3, 8, 8], "Format/Datatype": "Half"}],
            "Outputs": [{"Name": "y", "Dimensions": [1, 6, 8, 8], "Format/Datatype": "Half"}],
            "TacticName": "made_up",
            "Metadata": "[ONNX Layer: conv]",
        }
    ]
}


class Cache:
    def __init__(self, stored: bytes) -> None:
        self.stored = stored

    def serialize(self) -> bytes:
        return self.stored + b"+measured"


class Settings:
    def __init__(self) -> None:
        self.profiles: list[Any] = []
        self.limits: dict[Any, int] = {}
        self.cache: Cache | None = None

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        self.limits[pool] = size

    def create_timing_cache(self, stored: bytes) -> Cache:
        return Cache(stored)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.cache = cache
        return not cache.stored.startswith(b"other GPU")

    def get_timing_cache(self) -> Cache | None:
        return self.cache

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Any, ...]] = {}

    def set_shape(self, name: str, low: Any, best: Any, high: Any) -> None:
        self.shapes[name] = (low, best, high)


def fake_tensorrt(version: str) -> Any:
    """A module; `asked` on it has the network's flags and the settings of the last build."""
    asked: dict[str, Any] = {}

    class ILogger:
        Severity = Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")

    class IProgressMonitor:
        pass

    class Builder:
        def __init__(self, logger: Any) -> None:
            asked["logger"] = logger

        def create_network(self, flags: int) -> object:
            asked["flags"] = flags
            return object()

        def create_builder_config(self) -> Settings:
            asked["settings"] = Settings()
            return asked["settings"]

        def create_optimization_profile(self) -> Profile:
            return Profile()

        def build_serialized_network(self, network: object, settings: Settings) -> bytes:
            return b"ftrt an engine"

    class OnnxParser:
        num_errors = 0

        def __init__(self, network: object, logger: Any) -> None:
            pass

        def parse(self, model: bytes) -> bool:
            asked["model"] = model
            return True

    class Runtime:
        def __init__(self, logger: Any) -> None:
            pass

        def deserialize_cuda_engine(self, engine: bytes) -> Any:
            told = SimpleNamespace(get_engine_information=lambda form: json.dumps(INSPECTED))
            return SimpleNamespace(create_engine_inspector=lambda: told)

    def load_library(path: str) -> object:
        asked["library"] = path
        return None if "without" in path else object()

    return SimpleNamespace(
        __version__=version,
        get_plugin_registry=lambda: SimpleNamespace(load_library=load_library),
        asked=asked,
        Builder=Builder,
        OnnxParser=OnnxParser,
        Runtime=Runtime,
        ILogger=ILogger,
        IProgressMonitor=IProgressMonitor,
        ProfilingVerbosity=SimpleNamespace(DETAILED="detailed"),
        LayerInformationFormat=SimpleNamespace(JSON="json"),
        MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
        NetworkDefinitionCreationFlag=IntEnum("Flag", {"STRONGLY_TYPED": 1}),
    )
