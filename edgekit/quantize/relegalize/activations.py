"""Activations as symmetric int8 with one scale.

1. A Q or DQ on an activation with a zero point, an unsigned or wide type, or several scales gets the scale of a range
   that is symmetric around 0 and covers the old one: max(|lo|, |hi|) / 127, with lo = scale * (least - zero point) and
   hi = scale * (largest - zero point); of several the largest. int8 with zero point 0 keeps its largest scale.
2. Each node is mended by what it says itself, so that a Q and its DQs stay a pair, whatever stands between them.
3. Integers that the caller feeds or gets stay as they are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx

from edgekit.quantize.legal.graph import DQ, QdqGraph, Scheme
from edgekit.quantize.legal.numbers import UNSIGNED
from edgekit.quantize.scales import scale_of
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import Names

_TYPE = onnx.TensorProto
RANGES: dict[int, tuple[int, int]] = {
    _TYPE.INT4: (-8, 7),
    _TYPE.UINT4: (0, 15),
    _TYPE.INT8: (-128, 127),
    _TYPE.UINT8: (0, 255),
    _TYPE.INT16: (-32768, 32767),
    _TYPE.UINT16: (0, 65535),
}


def symmetric_activations(model: onnx.ModelProto) -> PassResult:
    """Mend in place."""
    graph, parameters = QdqGraph(model), Parameters(model)
    # Schemes are read before the first change: a DQ may have its type from the Q in front of it.
    broken = [(node, graph.scheme(node)) for node in graph.quantizers() if is_mendable(graph, node)]
    for node, scheme in broken:
        parameters.give(node, symmetric_scale(scheme))
    pairs = sum(node.op_type == DQ for node, _ in broken)
    notes = (f"zero-point, unsigned, per-channel-activation: {pairs} activations symmetric, with one scale",)
    return PassResult(model, bool(broken), notes if broken else ())


def symmetric_scale(scheme: Scheme) -> npt.NDArray[np.float32]:
    """A scalar, so that -127..127 covers all that the scheme can hold."""
    assert scheme.scale is not None
    steps = scheme.scale.astype(np.float32)
    if scheme.dtype == _TYPE.INT8 and not scheme.shifted:
        return np.asarray(steps.max())
    zero = np.zeros(1, np.float32) if scheme.zero is None else scheme.zero.astype(np.float32)
    farthest = np.maximum(*(np.abs(end - zero) for end in RANGES[scheme.dtype]))
    return scale_of((steps * farthest).max(), half=scheme.scale.dtype == np.float16)


class Parameters:
    """Writes scales and zero points into a model, each scale once."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._names = Names(model)
        self._scales: dict[tuple[float, str], str] = {}
        self._zero = ""

    def give(self, node: onnx.NodeProto, scale: npt.NDArray[np.float32]) -> None:
        """Make a Q or DQ node a symmetric int8 one of that scale, in the type that its scale had."""
        kept = [item for item in node.attribute if item.name not in ("axis", "block_size", "output_dtype")]
        del node.attribute[:]
        node.attribute.extend(kept)
        node.domain = ""
        node.input[:] = [node.input[0], self._scale(node.input[1], scale), self._zero_point()]

    def _scale(self, old: str, scale: npt.NDArray[np.float32]) -> str:
        dtype = next(tensor.data_type for tensor in self._graph.initializer if tensor.name == old)
        value = np.asarray(scale).astype(onnx.helper.tensor_dtype_to_np_dtype(dtype))
        key = (float(value), str(value.dtype))
        if key not in self._scales:
            self._scales[key] = self._names(f"{old}_symmetric")
            self._graph.initializer.append(onnx.numpy_helper.from_array(value, self._scales[key]))
        return self._scales[key]

    def _zero_point(self) -> str:
        if not self._zero:
            self._zero = self._names("zero_int8")
            self._graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(0, np.int8), self._zero))
        return self._zero


def is_mendable(graph: QdqGraph, node: onnx.NodeProto) -> bool:
    """Whether a Q or DQ on an activation is to become symmetric int8 with one scale, and can."""
    scheme = graph.scheme(node)
    wrong = scheme.shifted or scheme.dtype in (*UNSIGNED, _TYPE.INT16, _TYPE.UINT16) or not scheme.scalar
    outside = node.output[0] in graph.outputs if node.op_type != DQ else graph.is_input(node.input[0])
    known = scheme.dtype in RANGES and scheme.scale is not None
    return wrong and known and not outside and not graph.is_constant(node.input[0])
