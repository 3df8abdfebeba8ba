"""Stored tensors as symmetric int8, with one scale an output channel where they are weights of layers.

1. Integers that fit into int8 without their zero point keep their scales: only how they are written changes.
2. Other weights are dequantized and quantized anew, along the axis of the output channels of the layers that read them,
   or with one scale where these differ.
3. A weight that is stored in floating point in front of a legal pair is stored as what the pair makes of it.
4. A constant of fewer than two axes that no layer has as weight becomes FP32: it costs nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgekit.quantize.legal.graph import DQ, QdqGraph, Scheme, as_wide
from edgekit.quantize.legal.numbers import UNSIGNED, wrong_axis
from edgekit.quantize.scales import LEVELS, quantize_weight
from edgekit.quantize.weights import add_dequantized, finite_values
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import Names

_WRONG_TYPES = (*UNSIGNED, onnx.TensorProto.INT16, onnx.TensorProto.UINT16, onnx.TensorProto.INT32)


def symmetric_weights(model: onnx.ModelProto) -> PassResult:
    """Mend in place, and leave the nodes unsorted; QuantizeError for a weight that is not finite."""
    graph, names = QdqGraph(model), Names(model)
    axes: dict[int, set[int]] = {}
    wrong = set()
    for weight in graph.weights():
        axes.setdefault(id(weight.dq), set()).add(weight.axis)
        wrong |= {id(weight.dq)} if wrong_axis(weight, graph.scheme(weight.dq)) else set()
    mended = 0
    for dq in [node for node in graph.quantizers() if node.op_type == DQ and graph.is_constant(node.input[0])]:
        scheme, values = graph.scheme(dq), graph.numbers(dq)
        turned, stored = id(dq) in wrong, _stored(graph, dq, scheme)
        is_float = bool(graph.before(dq)) and id(dq) in axes and scheme.dtype == onnx.TensorProto.INT8
        scalar = values is not None and not values.ndim and not graph.before(dq)
        broken = scheme.shifted or scheme.dtype in _WRONG_TYPES or turned or is_float or scalar
        if values is None or not broken:
            continue
        if id(dq) not in axes and values.ndim < 2:
            new = names(f"{dq.output[0]}_float")
            model.graph.initializer.append(onnx.numpy_helper.from_array(values, new))
        else:
            axis = next(iter(axes[id(dq)])) if len(axes.get(id(dq), ())) == 1 else None
            kept = None if turned else _shifted(stored, scheme)
            levels, attributes = kept or _anew(values, scheme, axis)
            new = add_dequantized(model.graph, dq.output[0], levels, names, attributes)
        for reader, at in graph.readers(dq.output[0]):
            reader.input[at] = new
        mended += 1
    notes = (f"zero-point, unsigned, weight-axis, float-weight: {mended} stored tensors written anew",)
    return PassResult(model, bool(mended), notes if mended else ())


_Levels = tuple[tuple[npt.NDArray[np.int8], npt.NDArray[Any]], dict[str, Any]]


def _stored(graph: QdqGraph, dq: onnx.NodeProto, scheme: Scheme) -> npt.NDArray[Any] | None:
    """The integers that a DQ reads, also where a Q makes them of a stored tensor first.

    clip(rint(x / scale)), half to even, in the range of int8 (ONNX operator specification, QuantizeLinear); None for a
    Q that is no symmetric int8.
    """
    before = graph.tensor(graph.before(dq))
    if before is None:
        return graph.value(dq.input[0])
    values = finite_values(before)
    if scheme.scale is None or scheme.shifted or scheme.dtype != onnx.TensorProto.INT8:
        return None
    levels = np.rint(values / as_wide(scheme.scale, scheme, values.shape))
    whole: npt.NDArray[Any] = np.clip(levels, -LEVELS - 1, LEVELS)
    return whole


def _shifted(stored: npt.NDArray[Any] | None, scheme: Scheme) -> _Levels | None:
    """The same numbers with zero point 0 and the same scales, where int8 holds them."""
    if stored is None or scheme.scale is None:
        return None
    zero = np.zeros_like(scheme.scale) if scheme.zero is None else scheme.zero
    whole = stored.astype(np.int64) - as_wide(zero.astype(np.int64), scheme, stored.shape)
    if whole.size and not -LEVELS - 1 <= whole.min() <= whole.max() <= LEVELS:
        return None
    attributes = {"axis": scheme.axis} if scheme.scale.size > 1 else {}
    attributes |= {"block_size": scheme.block} if scheme.block else {}
    return (whole.astype(np.int8), scheme.scale), attributes


def _anew(values: npt.NDArray[Any], scheme: Scheme, axis: int | None) -> _Levels:
    """Quantized once more, with scales of the type that they had."""
    assert scheme.scale is not None
    half = scheme.scale.dtype == np.float16
    whole, scale = quantize_weight(values.astype(np.float32), axis, half=half)
    return (whole, scale.astype(scheme.scale.dtype)), {} if axis is None else {"axis": axis}
