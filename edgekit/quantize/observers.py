"""What a model's tensors look like on real data, in one pass and in flat memory.

Of most tensors only the largest |x| is wanted: that reduction runs inside the graph, and one number leaves onnxruntime.
Of the tensors that layers read, everything that a better choice of scales needs is collected: a histogram, and the
largest |x| and the mean of each channel. One batch of activations is alive at a time, however many samples there are.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgekit.data import Batch
from edgekit.errors import DataError, QuantizeError, first_line
from edgekit.judge import plain_session
from edgekit.quantize.histogram import Histogram

_ABS, _LARGEST, _SUM = "_edgekit_abs", "_edgekit_largest", "_edgekit_sum"
# The square of what is larger may not fit into float32.
_SQUARE_FITS = 1e19


@dataclass
class Channels:
    """A tensor by channels, C of them at `axis`: the ends of the range of x, float32 [C], and over `count` values of
    each channel the sum and the sum of squares, float64 [C]."""

    axis: int
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]
    total: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]
    count: int

    @property
    def largest(self) -> npt.NDArray[np.float32]:
        """The largest |x| of each channel, [C]."""
        return np.maximum(self.high, -self.low)

    def mean(self) -> npt.NDArray[np.float64]:
        """The mean of each channel, [C]."""
        return self.total / max(self.count, 1)

    def merged(self, other: Channels) -> Channels:
        """What both have seen. Raises DataError where the two have not the same channels."""
        if len(self.low) != len(other.low):
            raise DataError(
                f"expected {len(self.low)} channels, as were seen before, found {len(other.low)}",
                "--data without --scales",
            )
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        total, squares = self.total + other.total, self.squares + other.squares
        return Channels(self.axis, low, high, total, squares, self.count + other.count)

    def moved(self, by: npt.NDArray[np.float32]) -> Channels:
        """What x - by would have shown; `by` [C]."""
        exact = by.astype(np.float64)
        squares = self.squares - 2 * exact * self.total + self.count * exact * exact
        total = self.total - self.count * exact
        return Channels(self.axis, self.low - by, self.high - by, total, squares, self.count)

    def divided(self, by: npt.NDArray[np.float32]) -> Channels:
        """What x / by would have shown; `by` [C] is positive."""
        squares = self.squares / np.square(by.astype(np.float64))
        return Channels(self.axis, self.low / by, self.high / by, self.total / by, squares, self.count)


@dataclass
class Seen:
    """What was seen of one tensor: the largest |x|, and where it was asked for the rest."""

    largest: float = 0.0
    histogram: Histogram | None = None
    channels: Channels | None = None

    def merged(self, other: Seen) -> Seen:
        """What both have seen of the same tensor. One of them may have met no values, and so have no more than zero."""
        histogram, channels = self.histogram or other.histogram, self.channels or other.channels
        if self.histogram is not None and other.histogram is not None:
            histogram = self.histogram.merged(other.histogram)
        if self.channels is not None and other.channels is not None:
            channels = self.channels.merged(other.channels)
        return Seen(max(self.largest, other.largest), histogram, channels)


@dataclass
class Statistics:
    """Everything seen, by the name of the tensor."""

    tensors: dict[str, Seen] = field(default_factory=dict)

    def merged(self, other: Statistics) -> Statistics:
        """What was seen on the samples of both."""
        tensors = dict(self.tensors)
        for name, seen in other.tensors.items():
            tensors[name] = tensors[name].merged(seen) if name in tensors else seen
        return Statistics(tensors)


class Observer:
    """Runs the float model, batch by batch, and looks at its tensors.

    `axes` names the tensors to be seen whole, each with its channel axis; `others` those of which the largest |x| is
    enough. All are FP32 activations or inputs of `model`.
    """

    def __init__(self, model: onnx.ModelProto, axes: Mapping[str, int], others: Iterable[str] = ()) -> None:
        self._axes = dict(axes)
        self._others = [name for name in dict.fromkeys(others) if name not in self._axes]
        inputs = {value.name for value in model.graph.input}
        self._fetched = [name for name in self._axes if name not in inputs]
        self.outputs = [value.name for value in model.graph.output]
        self._model = model
        self._session: Any = None

    def watches(self) -> bool:
        """Whether there is any tensor to be seen."""
        return bool(self._axes or self._others)

    def see(self, inputs: Batch) -> tuple[Statistics, Batch]:
        """Look at one batch; return what was seen, and the model's outputs.

        Raises QuantizeError when onnxruntime fails, or a tensor is NaN or Inf.
        """
        if self._session is None:  # weights alone may be quantized: then no model need be run
            with _blamed_on_onnxruntime():
                observed = _with_outputs(self._model, self._fetched, self._others)
                self._session = plain_session(observed.SerializeToString())
        reductions = [name + suffix for suffix in (_LARGEST, _SUM) for name in self._others]
        names = list(dict.fromkeys([*self.outputs, *self._fetched]))
        with _blamed_on_onnxruntime():
            found = self._session.run([*names, *reductions], inputs)
        arrays = inputs | dict(zip([*names, *reductions], found, strict=True))
        seen = {name: _seen_reduced(arrays[name + _LARGEST], arrays[name + _SUM]) for name in self._others}
        seen |= {name: _seen_whole(arrays[name], axis) for name, axis in self._axes.items()}
        for name, item in seen.items():
            if not np.isfinite(item.largest):
                raise QuantizeError(
                    f"activation {name!r} is NaN or Inf on the calibration data: FP32 itself is broken there"
                )
        return Statistics(seen), {name: arrays[name] for name in self.outputs}


def _seen_reduced(largest: npt.NDArray[np.float32], total: npt.NDArray[np.float32]) -> Seen:
    """Of the largest |x| and the sum of all |x|, which is NaN where any x is; the largest of nothing is -Inf."""
    return Seen(math.nan if np.isnan(total) else max(0.0, float(largest)))


def _seen_whole(array: npt.NDArray[np.float32], axis: int) -> Seen:
    """`axis` counts from the end where it is negative; a number without axes is one channel."""
    array = np.atleast_1d(array)
    others: Any = tuple(other for other in range(array.ndim) if other != axis % array.ndim)
    if not array.size:
        return Seen()
    low, high = array.min(axis=others), array.max(axis=others)
    largest = float(max(high.max(), -low.min()))
    if not math.isfinite(largest):
        return Seen(largest)
    histogram = Histogram()
    histogram.add(array, largest)
    total = array.sum(axis=others, dtype=np.float64)
    wide = np.float64 if largest > _SQUARE_FITS else np.float32
    squares = np.square(array, dtype=wide).sum(axis=others, dtype=np.float64)
    return Seen(largest, histogram, Channels(axis, low, high, total, squares, array.size // total.size))


@contextlib.contextmanager
def _blamed_on_onnxruntime() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise QuantizeError(f"onnxruntime failed on the calibration data: {first_line(error)}") from error


def _with_outputs(model: onnx.ModelProto, whole: list[str], reduced: list[str]) -> onnx.ModelProto:
    """The model with these tensors as outputs too: as they are, or as their largest |x| and the sum of all |x|.

    onnxruntime's ReduceMax passes over most NaN; a sum does not.
    """
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    there = {value.name for value in observed.graph.output}
    observed.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in whole if name not in there
    )
    for name in reduced:
        found = [name + _ABS, name + _LARGEST, name + _SUM]
        observed.graph.node.extend(
            [
                onnx.helper.make_node("Abs", [name], found[:1]),
                onnx.helper.make_node("ReduceMax", found[:1], found[1:2], keepdims=0),
                onnx.helper.make_node("ReduceSum", found[:1], found[2:], keepdims=0),
            ]
        )
        numbers = (onnx.helper.make_tensor_value_info(item, onnx.TensorProto.FLOAT, []) for item in found[1:])
        observed.graph.output.extend(numbers)
    return observed
