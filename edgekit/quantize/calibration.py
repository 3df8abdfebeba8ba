"""Calibration data -> the scale table: what was observed, on what, and the scales that follow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from edgekit.configs import QuantizeConfig
from edgekit.data import Batch, batches, batching, doubts, open_data
from edgekit.errors import QuantizeError, UsageError
from edgekit.quantize.observers import largest_values
from edgekit.quantize.placement import Layer
from edgekit.recipe import load_recipe, recipe_of
from edgekit.reports import Progress
from edgekit.rewrite.reading import graph_inputs, metadata
from edgekit.specs import Preprocess

_BATCH = 8


@dataclass(frozen=True)
class ScaleTable:
    """`largest` maps an activation to the largest |x| seen; the digests say on which model and which inputs."""

    model_sha256: str
    data_sha256: str
    data: str
    samples: int
    method: str
    largest: dict[str, float]
    warnings: tuple[str, ...] = ()


def calibrate(
    model: onnx.ModelProto, model_sha256: str, layers: list[Layer], config: QuantizeConfig, progress: Progress
) -> ScaleTable:
    """Run the FP32 model over `config.data` once. Raises UsageError without data: INT8 needs real inputs."""
    if config.data is None:
        raise UsageError(
            f"expected real inputs to calibrate {config.precision} on, found none: "
            "scales from random numbers would be wrong in silence",
            "--data with an .npz or a folder of pictures",
        )
    if not layers:
        raise QuantizeError("expected a Conv, Gemm or MatMul with a constant weight to quantize, found none")
    inputs = graph_inputs(model)
    data = open_data(config.data, inputs, _preprocess(model, config))
    size, count = batching(data, inputs, _BATCH, config.samples)
    digest = hashlib.sha256()
    watched = _Watched(digest)
    stream = watched.through(batches(data, size, count))
    largest = largest_values(model, [layer.activation for layer in layers], stream, progress, count)
    return ScaleTable(
        model_sha256=model_sha256,
        data_sha256=digest.hexdigest(),
        data=data.what,
        samples=count,
        method="max",
        largest=largest,
        warnings=doubts(watched.low, watched.high, count),
    )


def _preprocess(model: onnx.ModelProto, config: QuantizeConfig) -> Preprocess | None:
    name = config.recipe or recipe_of(metadata(model, "architecture"))
    return load_recipe(name).preprocess if name else None


class _Watched:
    """Hashes the samples as they pass, and keeps the range of each input."""

    def __init__(self, digest: hashlib._Hash) -> None:
        self._digest = digest
        self.low: dict[str, float] = {}
        self.high: dict[str, float] = {}

    def through(self, stream: Iterator[Batch]) -> Iterator[Batch]:
        for batch in stream:
            for name, array in batch.items():
                self._digest.update(np.ascontiguousarray(array).data)
                self.low[name] = min(self.low.get(name, np.inf), float(array.min()))
                self.high[name] = max(self.high.get(name, -np.inf), float(array.max()))
            yield batch
