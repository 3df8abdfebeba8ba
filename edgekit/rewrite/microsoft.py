"""The operators that onnxruntime's optimizers write into a file, as the operators that they stand for.

1. Gelu, FastGelu, QuickGelu and BiasGelu become Gelu from opset 20 on, below it Erf, Tanh or Sigmoid with products.
2. FusedMatMul, TransposeMatMul, FusedGemm and FusedConv become the product or convolution, with a Transpose before it
   and a factor, a sum and an activation behind it.
3. SkipLayerNormalization and SkipSimplifiedLayerNormalization become sums and a normalisation.
4. An operator that is ONNX's own of the same name moves to ONNX's domain, where the opset has it.
5. All others stay, and so does a form of these that is not written here: batch axes turned, an activation that is
   unknown, a mean or a deviation as an output.

The names of outputs stay. Source: onnxruntime, docs/ContribOperators.md,
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx

from edgekit.rewrite import PassResult
from edgekit.rewrite.bare import without_weights
from edgekit.rewrite.layer_norms import Norm, write_norm
from edgekit.rewrite.replacing import Scope, replace_nodes
from edgekit.rewrite.writer import NodeWriter

DOMAIN = "com.microsoft"
# The first opset in which ONNX's operator of that name is the same.
SAME_AS_ONNX = {"QuantizeLinear": 13, "DequantizeLinear": 13, "Trilu": 14, "Pad": 13, "Range": 11, "GatherND": 12}
_ACTIVATIONS: dict[str, tuple[tuple[str, float], ...]] = {
    "Relu": (), "Tanh": (), "Sigmoid": (), "LeakyRelu": (("alpha", 0.01),),
    "HardSigmoid": (("alpha", 0.2), ("beta", 0.5)), "Clip": (("min", -math.inf), ("max", math.inf)),
}  # fmt: skip


def decompose_microsoft(model: onnx.ModelProto) -> PassResult:
    """Rewrite in place; the numbers are the same but for the order of a few roundings."""
    modified = replace_nodes(model, _is_meant, _write)
    while _turned(model):  # a Transpose needs a rank, which shape inference may know once what stands before is ONNX
        told = {value.name for value in model.graph.value_info}
        inferred = onnx.shape_inference.infer_shapes(without_weights(model)).graph.value_info
        model.graph.value_info.extend(value for value in inferred if value.name not in told)
        if not replace_nodes(model, _is_meant, _write):
            break
        modified = True
    return PassResult(model, modified)


@dataclass(frozen=True)
class _Fused:
    """The node that goes, and the writer of what takes its place."""

    node: onnx.NodeProto
    write: NodeWriter
    scope: Scope

    @property
    def output(self) -> str:
        return self.node.output[0]

    def input(self, at: int) -> str:
        return self.node.input[at] if at < len(self.node.input) else ""

    def __call__(self, name: str, default: Any) -> Any:
        """An attribute."""
        found = next((item for item in self.node.attribute if item.name == name), None)
        if found is None:
            return default
        read = onnx.helper.get_attribute_value(found)
        return read.decode() if isinstance(read, bytes) else read


def _is_meant(node: onnx.NodeProto, opset: int) -> bool:
    if node.domain != DOMAIN:
        return False
    return node.op_type in _PARTS or opset >= SAME_AS_ONNX.get(node.op_type, opset + 1)


def _write(write: NodeWriter, node: onnx.NodeProto, scope: Scope) -> None:
    if node.op_type in _PARTS:
        _PARTS[node.op_type](_Fused(node, write, scope))
    else:
        moved = onnx.NodeProto.FromString(node.SerializeToString())
        moved.domain = ""
        write.nodes.append(moved)


def _turned(model: onnx.ModelProto) -> bool:
    return any(
        node.domain == DOMAIN and node.op_type in ("FusedMatMul", "TransposeMatMul") and not _batch_is_turned(node)
        for node in model.graph.node
    )


def _batch_is_turned(node: onnx.NodeProto) -> bool:
    return any(item.i for item in node.attribute if item.name in ("transBatchA", "transBatchB"))


def _gelu(fused: _Fused) -> None:
    """x/2 (1 + erf(x / sqrt 2)); the input may be a sum with a bias."""
    write, x = fused.write, fused.input(0)
    if fused.input(1):
        x = write("Add", x, fused.input(1))
    if write.opset >= 20:
        write("Gelu", x, output=fused.output)
        return
    inner = write("Erf", write("Mul", x, write.number(math.sqrt(0.5))))
    _half_of(write, x, inner, fused.output)


def _fast_gelu(fused: _Fused) -> None:
    """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    write, x = fused.write, fused.input(0)
    if fused.input(1):
        x = write("Add", x, fused.input(1))
    if write.opset >= 20:
        write("Gelu", x, output=fused.output, approximate="tanh")
        return
    cube = write("Mul", write("Mul", write("Mul", x, x), x), write.number(0.044715))
    inner = write("Tanh", write("Mul", write("Add", x, cube), write.number(math.sqrt(2 / math.pi))))
    _half_of(write, x, inner, fused.output)


def _half_of(write: NodeWriter, x: str, inner: str, output: str) -> None:
    sum_ = write("Add", inner, write.number(1.0))
    write("Mul", write("Mul", x, sum_), write.number(0.5), output=output)


def _quick_gelu(fused: _Fused) -> None:
    """x sigmoid(alpha x)."""
    write, x = fused.write, fused.input(0)
    write("Mul", x, write("Sigmoid", write("Mul", x, write.number(fused("alpha", 1.702)))), output=fused.output)


def _matmul(fused: _Fused) -> None:
    """alpha a b, with the last two axes of either turned before."""
    write, factor = fused.write, fused("alpha", 1.0)
    turned = (fused("transA", 0), fused("transB", 0))
    ranks = [fused.scope.ranks.get(name, 0) for name in fused.node.input]
    if _batch_is_turned(fused.node) or any(turn and not rank for turn, rank in zip(turned, ranks, strict=True)):
        return
    inputs = []
    for name, turn, rank in zip(fused.node.input, turned, ranks, strict=True):
        # A vector has no axes to turn: onnxruntime leaves it.
        order = [*range(rank - 2), rank - 1, rank - 2] if turn and rank > 1 else []
        inputs.append(write("Transpose", name, perm=order) if order else name)
    made = write("MatMul", *inputs, output=fused.output if factor == 1 else "")
    if factor != 1:
        write("Mul", made, write.number(factor), output=fused.output)


def _gemm(fused: _Fused) -> None:
    values = [fused(f"activation_{name}", None) for name in ("alpha", "beta", "gamma")]
    _then_activated(fused, "Gemm", ("alpha", "beta", "transA", "transB"), values)


def _conv(fused: _Fused) -> None:
    names = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    _then_activated(fused, "Conv", names, list(fused("activation_params", [])))


def _then_activated(fused: _Fused, op: str, attributes: tuple[str, ...], values: list[float | None]) -> None:
    """The operator with those of the node's attributes that are its own, a sum with a fourth input, an activation."""
    write, activation = fused.write, fused("activation", "")
    if activation and activation not in _ACTIVATIONS:
        return
    given = {name: fused(name, None) for name in attributes}
    inputs = [name for name in fused.node.input[:3] if name]
    kept = {name: value for name, value in given.items() if value is not None}
    others = bool(fused.input(3)) + bool(activation)
    made = write(op, *inputs, output="" if others else fused.output, **kept)
    if fused.input(3):
        made = write("Add", made, fused.input(3), output="" if activation else fused.output)
    known = _ACTIVATIONS.get(activation, ())
    parameters = {
        name: default if value is None else value
        for (name, default), value in zip(known, [*values, *[None] * len(known)], strict=False)
    }
    if activation == "Clip":
        write.clip(made, parameters["min"], parameters["max"], fused.output)
    elif activation:
        write(activation, made, output=fused.output, **parameters)


def _skip_norm(fused: _Fused) -> None:
    """The norm of input + skip + bias, which is the fourth output."""
    simplified = fused.node.op_type == "SkipSimplifiedLayerNormalization"
    write, outputs = fused.write, [*fused.node.output, "", "", ""]
    bias = fused.input(3 if simplified else 4)
    if outputs[1] or outputs[2]:
        return
    summed = write("Add", fused.input(0), fused.input(1), output="" if bias else outputs[3])
    if bias:
        summed = write("Add", summed, bias, output=outputs[3])
    shift = "" if simplified else fused.input(3)
    norm = Norm(summed, fused.input(2), shift, fused("epsilon", 1e-12), simplified=simplified)
    write_norm(write, norm, fused.output)


_PARTS: dict[str, Callable[[_Fused], None]] = {
    "Gelu": _gelu,
    "BiasGelu": _gelu,
    "FastGelu": _fast_gelu,
    "QuickGelu": _quick_gelu,
    "FusedMatMul": _matmul,
    "TransposeMatMul": _matmul,
    "FusedGemm": _gemm,
    "FusedConv": _conv,
    "SkipLayerNormalization": _skip_norm,
    "SkipSimplifiedLayerNormalization": _skip_norm,
}
