"""Calibration data -> the scale table: what was observed, on what, and the scales that follow."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from edgekit.configs import QuantizeConfig
from edgekit.data import Watched, batches, open_data, told
from edgekit.errors import UsageError
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
            "--data with an .npz, a folder, or module:callable",
        )
    inputs = graph_inputs(model)
    preprocess = _preprocess(model, config)
    data = open_data(config.data, inputs, preprocess)
    total = 0 if data.count is None else min(data.count, config.samples)
    watched = Watched()
    stream = watched.through(batches(data, inputs, _BATCH, config.samples))
    largest = largest_values(model, [layer.activation for layer in layers], stream, progress, total)
    return ScaleTable(
        model_sha256=model_sha256,
        data_sha256=watched.sha256(),
        data=told(data, watched.count),
        samples=watched.count,
        method=config.method,
        largest=largest,
        warnings=watched.doubts(preprocess),
    )


def _preprocess(model: onnx.ModelProto, config: QuantizeConfig) -> Preprocess | None:
    name = config.recipe or recipe_of(metadata(model, "architecture"))
    return load_recipe(name).preprocess if name else None
