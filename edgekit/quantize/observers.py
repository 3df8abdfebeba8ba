"""The largest absolute value of each activation over the calibration data, in one pass.

The reduction runs inside the graph (Abs, ReduceMax), so that only a number a tensor leaves onnxruntime: memory is what
one forward pass of one batch needs, however many samples there are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import numpy as np
import onnx

from edgekit.data import Samples
from edgekit.errors import QuantizeError, first_line
from edgekit.judge import plain_session
from edgekit.reports import Progress

_SUFFIX = "_edgekit_largest"


def largest_values(
    model: onnx.ModelProto, tensors: Iterable[str], stream: Iterable[Samples], progress: Progress, total: int
) -> dict[str, float]:
    """Return max |x| for each of `tensors` (FP32 activations or inputs of `model`) over all samples.

    Raises QuantizeError when onnxruntime fails, or an activation is NaN or Inf on the data.
    """
    names = list(dict.fromkeys(tensors))
    largest = dict.fromkeys(names, 0.0)
    done = 0
    reductions = [name + _SUFFIX for name in names]
    with _blamed_on_onnxruntime():
        # Weights alone may be quantized; the samples are looked at all the same.
        session = plain_session(_with_reductions(model, names).SerializeToString()) if names else None
    for samples in stream:
        with _blamed_on_onnxruntime():
            found = session.run(reductions, samples.inputs) if session else []
        for name, value in zip(names, found, strict=True):
            largest[name] = max(largest[name], float(value)) if np.isfinite(value) else float("nan")
        done += len(samples)
        progress("calibrating", done, total)
    for name, value in largest.items():
        if np.isnan(value):
            raise QuantizeError(
                f"activation {name!r} is NaN or Inf on the calibration data: FP32 itself is broken there"
            )
    return largest


@contextlib.contextmanager
def _blamed_on_onnxruntime() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise QuantizeError(f"onnxruntime failed on the calibration data: {first_line(error)}") from error


def _with_reductions(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    del observed.graph.output[:]
    for name in names:
        observed.graph.node.extend(
            [
                onnx.helper.make_node("Abs", [name], [name + "_edgekit_abs"]),
                onnx.helper.make_node("ReduceMax", [name + "_edgekit_abs"], [name + _SUFFIX], keepdims=0),
            ]
        )
        observed.graph.output.append(onnx.helper.make_tensor_value_info(name + _SUFFIX, onnx.TensorProto.FLOAT, []))
    return observed
