"""An input with its answer, for the bundle: by it a device tells whether the bundle works there before it is used.

The numbers are made up unless `--embed-samples` takes the first sample of the data: a bundle carries nothing of a
user's by itself. What the answer has to be is what the judged ONNX gives, at the level at which it was judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgekit.configs import ValidateConfig
from edgekit.data import Batch, batches, open_data
from edgekit.errors import DataError, ModelError
from edgekit.judge import Judge
from edgekit.latency.inputs import made_up
from edgekit.runtime.loop.golden import Golden
from edgekit.runtime.loop.guard import Guard
from edgekit.specs import TensorSpec
from edgekit.validate.subject import Subject, open_subject

_MOST_BYTES = 16 << 20  # of a large answer a device would read more than of the model


def golden(onnx: Path, config: ValidateConfig, opt: Mapping[str, int], *, embed: bool) -> Golden | None:
    """The golden input of an ONNX, at the sizes `opt` of its open axes; with `embed` the first of `config.data`.

    None where made-up numbers say nothing: an answer that is not finite, one of more than 16 MiB, a model that
    onnxruntime's CPU cannot run or that takes a dtype which NumPy does not have. Raises DataError for data that do not
    fit, and ModelError for a model that cannot be run on them.
    """
    subject = open_subject(onnx, config)
    try:
        inputs = _first(subject, str(config.data)) if embed else _made_up(subject.inputs, opt)
        with Judge(onnx) as judge:
            outputs = judge.run(inputs)
    except (DataError, ModelError):
        if embed:
            raise
        return None
    size = sum(array.nbytes for array in (*inputs.values(), *outputs.values()))
    return Golden(inputs, outputs) if Guard().good(outputs) and size <= _MOST_BYTES else None


def _made_up(specs: tuple[TensorSpec, ...], opt: Mapping[str, int]) -> Batch:
    shapes = {spec.name: spec.at(opt) for spec in specs}
    return made_up(specs, {name: shape for name, shape in shapes.items() if shape is not None})


def _first(subject: Subject, source: str) -> Batch:
    data = open_data(source, subject.inputs, subject.preprocess, subject.classes)
    size = subject.batch()
    return next(iter(batches(data, subject.inputs, size, size))).inputs
