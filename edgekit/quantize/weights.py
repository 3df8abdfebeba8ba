"""A weight as int8 values with the DequantizeLinear that brings it back: the form that layers and recurrences share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgekit.errors import QuantizeError
from edgekit.rewrite.names import Names

# Values of a narrow type, and the scales that bring them back.
Levels = tuple[npt.NDArray[Any], npt.NDArray[np.float32]]


def finite_values(weight: onnx.TensorProto) -> npt.NDArray[Any]:
    """The values of a weight; QuantizeError for one that is not finite, which int8 would make an arbitrary number."""
    values = onnx.numpy_helper.to_array(weight)
    if not np.isfinite(values).all():
        raise QuantizeError(f"expected finite weights, found NaN or Inf in {weight.name!r}")
    return values


def add_constant(graph: onnx.GraphProto, name: str, values: npt.NDArray[Any]) -> str:
    """Add FP32 values under a free name; return that name."""
    graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
    return name


def add_dequantized(
    graph: onnx.GraphProto,
    stem: str,
    levels: Levels,
    names: Names,
    attributes: dict[str, Any],
) -> str:
    """Add values, int8 or another narrow type, with their scales [as the attributes say], and a DequantizeLinear of
    zero point 0; return what comes out of it."""
    values, scale = levels
    inputs = [names(f"{stem}_{part}") for part in (str(values.dtype), "scale", "zero")]
    for name, array in zip(inputs, (values, scale, np.zeros(scale.shape, values.dtype)), strict=True):
        graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    out = names(f"{stem}_dq")
    graph.node.append(onnx.helper.make_node("DequantizeLinear", inputs, [out], out, **attributes))
    return out
