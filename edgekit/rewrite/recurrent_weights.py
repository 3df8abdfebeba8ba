"""The weights of a recurrent node, as an input projection and edgekit's operator take them.

ONNX keeps W [D,GH,I], R [D,GH,H] and B [D,2GH] anywhere that constants can be: in initializers of this graph or of one
around it, in Constant nodes, behind nodes that compute them, and as INT8 behind a DequantizeLinear.

Shapes: I input, H hidden, D directions, G gates (LSTM 4, GRU 3, RNN 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx

from edgekit.rewrite.fold import fold
from edgekit.rewrite.recurrent_node import RecurrentNode, Scope, attributes_of, inputs_of

# An array of NumPy, which this room does not import.
Array = Any
FLOATS = {"float32": onnx.TensorProto.FLOAT, "float16": onnx.TensorProto.FLOAT16}
_LARGEST_HALF = 65504.0


@dataclass(frozen=True)
class Stored:
    """Floating-point values, or INT8 ones with the scales that bring them back."""

    values: Array
    scale: Array | None = None

    @property
    def dtype(self) -> int:
        """ONNX's number of the floating-point type that they stand for, 0 for one that is not taken."""
        return FLOATS.get(str((self.values if self.scale is None else self.scale).dtype), 0)


@dataclass(frozen=True)
class Weights:
    """`w` [I,DGH] with scales [DGH] or one scale; `r` [D,GH,H] with scales [D,GH]; `bias` [DGH] FP32 is Wb + Rb.

    Of a GRU the candidate's Rb stays out of `bias`: it is `rb_h` [D,H] FP32. Both are None without biases.
    """

    w: Stored
    r: Stored
    bias: Array | None
    rb_h: Array | None


def weights_of(item: RecurrentNode, scope: Scope) -> Weights | str:
    """The weights of a node in its graph, or why they cannot be had."""
    named = inputs_of(item.node)
    found = {}
    for name in ("W", "R"):
        stored = _stored(named[name], scope)
        if stored is None:
            return f"its {name} is not a constant"
        if not stored.dtype:
            return f"its {name} is of type {stored.values.dtype}, which edgekit's operators do not have"
        found[name] = stored
    bias = rb_h = None
    if "B" in named:
        tensor = constant(named["B"], scope)
        if tensor is None:
            return "its B is not a constant"
        bias, rb_h = _biases(item.node.op_type, onnx.numpy_helper.to_array(tensor))
    return Weights(_turned(found["W"]), _by_row(found["R"]), bias, rb_h)


def in_half(weights: Stored) -> Stored | None:
    """Floating-point weights in FP16; INT8 ones stay as they are. None where one of them is too large for FP16."""
    if weights.scale is not None or weights.dtype == onnx.TensorProto.FLOAT16:
        return weights
    return Stored(weights.values.astype("float16")) if abs(weights.values).max() <= _LARGEST_HALF else None


def constant(name: str, scope: Scope) -> onnx.TensorProto | None:
    """What a name stands for in a graph, computed where it has to be; None for what depends on more than constants."""
    if name in scope.initializers:
        return scope.initializers[name]
    needed, open_names = {name}, [name]
    while open_names:
        current = open_names.pop()
        if current in scope.initializers:
            continue
        if current not in scope.made_by:
            return None
        more = {read for read in scope.made_by[current].input if read} - needed
        needed |= more
        open_names += more
    alone = onnx.ModelProto(opset_import=scope.opset_import)
    chosen = {id(node): node for made, node in scope.made_by.items() if made in needed}
    alone.graph.node.extend(chosen.values())
    alone.graph.initializer.extend(scope.initializers[read] for read in needed if read in scope.initializers)
    alone.graph.output.add(name=name)
    fold(alone, [name])
    return next((tensor for tensor in alone.graph.initializer if tensor.name == name), None)


def _stored(name: str, scope: Scope) -> Stored | None:
    """INT8 where it is stored so with a scale a row, else the values that the node reads."""
    maker = scope.made_by.get(name) if name not in scope.initializers else None
    if maker is not None and maker.op_type == "DequantizeLinear":
        quantized = _quantized(maker, scope)
        if quantized is not None:
            return quantized
    tensor = constant(name, scope)
    return None if tensor is None else Stored(onnx.numpy_helper.to_array(tensor))


def _quantized(node: onnx.NodeProto, scope: Scope) -> Stored | None:
    """Symmetric INT8 [D,GH,K] and its scales, [D,GH] or one; None where they are anything else."""
    tensors = [constant(name, scope) for name in node.input if name]
    attributes = attributes_of(node)
    if any(tensor is None for tensor in tensors) or attributes.get("output_dtype", 0):
        return None
    values, scale, *zero = (onnx.numpy_helper.to_array(tensor) for tensor in tensors if tensor is not None)
    if str(values.dtype) != "int8" or (zero and zero[0].any()):
        return None
    rows = _scale_of_rows(scale, attributes, values.shape)
    return None if rows is None else Stored(values, rows)


def _scale_of_rows(scale: Array, attributes: dict[str, Any], shape: tuple[int, ...]) -> Array | None:
    """[D,GH], or [] for a single one; None where values of one row have different scales."""
    directions, rows, width = shape
    if scale.size == 1:
        return scale.reshape(())
    axis, block = attributes.get("axis", 1) % 3, attributes.get("block_size", 0)
    if block:
        return scale.reshape(directions, rows) if axis == 2 and block >= width else None
    if axis == 2:
        return None
    return scale.reshape(1, rows).repeat(directions, 0) if axis == 1 else scale.reshape(directions, 1).repeat(rows, 1)


def _turned(w: Stored) -> Stored:
    """[D,GH,I] -> [I,DGH], as a MatMul reads it."""
    values = w.values.transpose(2, 0, 1).reshape(w.values.shape[2], -1)
    return Stored(values, w.scale.reshape(-1) if w.scale is not None and w.scale.ndim else w.scale)


def _by_row(r: Stored) -> Stored:
    """With a scale for each row, in FP32."""
    if r.scale is None:
        return r
    directions, rows, _ = r.values.shape
    scale = r.scale if r.scale.ndim else r.scale.reshape(1, 1).repeat(directions, 0).repeat(rows, 1)
    return Stored(r.values, scale.astype("float32"))


def _biases(kind: str, b: Array) -> tuple[Array, Array | None]:
    """B [D,2GH] -> Wb + Rb [DGH], and for a GRU the candidate's Rb [D,H], which the sum is without."""
    rows = b.shape[1] // 2
    folded = rows if kind != "GRU" else rows // 3 * 2
    bias = b[:, :rows].astype("float32")
    bias[:, :folded] += b[:, rows : rows + folded].astype("float32")
    return bias.reshape(-1), None if folded == rows else b[:, rows + folded :].astype("float32")
