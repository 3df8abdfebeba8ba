"""E[xT x] of what layers read, over real data, in one pass: what GPTQ weighs the error of a weight by.

The products run inside the graph (Flatten, Gemm), so that only [I,I] numbers a tensor leave onnxruntime. One batch of
activations is alive at a time; the sums take 8 I^2 bytes a tensor, however many samples there are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import onnx

from edgekit.data import Samples
from edgekit.errors import QuantizeError, first_line
from edgekit.judge import plain_session
from edgekit.reports import Progress, no_progress

Moments = npt.NDArray[np.float64]

_FLAT, _PRODUCT, _SHAPE = "_edgekit_flat", "_edgekit_product", "_edgekit_shape"


def second_moments(
    model: onnx.ModelProto,
    tensors: Iterable[str],
    stream: Iterable[Samples],
    progress: Progress = no_progress,
    total: int = 0,
) -> dict[str, Moments]:
    """Return, for each of `tensors` [...,I], the mean of xT x over its rows, float64 [I,I].

    `tensors` are FP32 activations or inputs of `model`, which is of opset 11 or above. All axes but the last are rows,
    so that padding counts as data. A batch is summed in float32, the batches in float64. `total` is the number of
    samples that `progress` is told of. Raises QuantizeError when onnxruntime fails, when an activation is NaN or Inf on
    the data, or when there was no row.
    """
    sums = {name: _Sum(name) for name in dict.fromkeys(tensors)}
    if not sums:
        return {}
    outputs = [name + suffix for name in sums for suffix in (_PRODUCT, _SHAPE)]
    done = 0
    with _blamed_on_onnxruntime():
        session = plain_session(_with_products(model, list(sums)).SerializeToString())
    for samples in stream:
        with _blamed_on_onnxruntime():
            found = session.run(outputs, samples.inputs)
        for item, product, shape in zip(sums.values(), found[::2], found[1::2], strict=True):
            item.add(product, int(shape[0]))
        done += len(samples)
        progress("measuring second moments", done, total)
    return {name: item.mean() for name, item in sums.items()}


class _Sum:
    """The sum of one tensor's products so far."""

    def __init__(self, tensor: str) -> None:
        self._tensor = tensor
        self._sum: Moments = np.zeros((0, 0))
        self._rows = 0

    def add(self, product: npt.NDArray[np.float32], rows: int) -> None:
        if not np.isfinite(product).all():
            raise QuantizeError(
                f"activation {self._tensor!r} is NaN or Inf on the calibration data: FP32 itself is broken there"
            )
        self._sum = self._sum if self._sum.size else np.zeros(product.shape)
        self._sum += product
        self._rows += rows

    def mean(self) -> Moments:
        if not self._rows:
            raise QuantizeError(f"expected calibration data that reaches activation {self._tensor!r}, found no row")
        return self._sum / self._rows


def _with_products(model: onnx.ModelProto, tensors: list[str]) -> onnx.ModelProto:
    """The model with the products of these tensors, and the shapes [2] of what they are made of, as its outputs."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    del observed.graph.output[:]
    for name in tensors:
        flat, product, shape = (name + suffix for suffix in (_FLAT, _PRODUCT, _SHAPE))
        observed.graph.node.extend(
            [
                onnx.helper.make_node("Flatten", [name], [flat], axis=-1),
                onnx.helper.make_node("Gemm", [flat, flat], [product], transA=1),
                onnx.helper.make_node("Shape", [flat], [shape]),
            ]
        )
        observed.graph.output.extend(
            [
                onnx.helper.make_tensor_value_info(product, onnx.TensorProto.FLOAT, None),
                onnx.helper.make_tensor_value_info(shape, onnx.TensorProto.INT64, None),
            ]
        )
    return observed


@contextlib.contextmanager
def _blamed_on_onnxruntime() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise QuantizeError(f"onnxruntime failed on the calibration data: {first_line(error)}") from error
