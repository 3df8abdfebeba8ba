"""Layer normalisation in operators that the model's opset has.

1. A LayerNormalization in ONNX's own domain below opset 17, which had none, becomes means and products: onnxruntime
   writes such nodes when it fuses, and reads them, and no one else does.
2. A SimplifiedLayerNormalization, which no opset has, becomes the same without the mean.
3. Half precision is computed in FP32 between two casts, as the operator's own definition does.
4. One that also gives its mean or deviation away stays, and so does one whose axes are unknown.

Source: ONNX operator specification, LayerNormalization-17 and RMSNormalization-23; onnxruntime,
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx

from edgekit.rewrite import PassResult
from edgekit.rewrite.names import ONNX_DOMAINS
from edgekit.rewrite.replacing import Scope, replace_nodes
from edgekit.rewrite.writer import NodeWriter

_FLOAT = onnx.TensorProto.FLOAT
_HALF = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
_NORM, _SIMPLIFIED = "LayerNormalization", "SimplifiedLayerNormalization"


@dataclass(frozen=True)
class Norm:
    """x [..., C] is normalised over its last `axes` axes, times `scale`, plus `bias` where there is one."""

    x: str
    scale: str
    bias: str = ""
    epsilon: float = 1e-5
    axes: int = 1
    simplified: bool = False


def mend_layer_norms(model: onnx.ModelProto) -> PassResult:
    """Rewrite in place."""
    return PassResult(model, replace_nodes(model, _is_meant, _write))


def write_norm(write: NodeWriter, norm: Norm, output: str) -> None:
    """As one node where the opset has one, else in parts."""
    first = -norm.axes
    if not norm.simplified and write.opset >= 17:
        inputs = [norm.x, norm.scale, *([norm.bias] if norm.bias else [])]
        write(_NORM, *inputs, output=output, epsilon=norm.epsilon, axis=first)
    elif norm.simplified and write.opset >= 23:
        write("RMSNormalization", norm.x, norm.scale, output=output, epsilon=norm.epsilon, axis=first)
    else:
        _write_parts(write, norm, tuple(range(first, 0)), output)


def _write_parts(write: NodeWriter, norm: Norm, axes: tuple[int, ...], output: str) -> None:
    dtype = write.dtype
    x = write("Cast", norm.x, to=_FLOAT) if dtype in _HALF else norm.x
    write.dtype = _FLOAT if dtype in _HALF else dtype
    centred = x if norm.simplified else write("Sub", x, write.mean(x, axes))
    variance = write.mean(write("Mul", centred, centred), axes)
    deviation = write("Sqrt", write("Add", variance, write.number(norm.epsilon)))
    made = write("Div", centred, deviation)
    write.dtype = dtype
    if dtype in _HALF:
        made = write("Cast", made, to=dtype)
    made = write("Mul", made, norm.scale, output="" if norm.bias else output)
    if norm.bias:
        write("Add", made, norm.bias, output=output)


def _is_meant(node: onnx.NodeProto, opset: int) -> bool:
    if node.domain not in ONNX_DOMAINS or any(node.output[1:]):
        return False
    return node.op_type == _SIMPLIFIED or (node.op_type == _NORM and opset < 17)


def _write(write: NodeWriter, node: onnx.NodeProto, scope: Scope) -> None:
    given: dict[str, Any] = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    axis = given.get("axis", -1)
    axes = -axis if axis < 0 else scope.ranks.get(node.input[1], 0)
    if axes:
        scale, *bias = node.input[1:]
        norm = Norm(node.input[0], scale, "".join(bias), given.get("epsilon", 1e-5), axes, node.op_type == _SIMPLIFIED)
        write_norm(write, norm, node.output[0])
