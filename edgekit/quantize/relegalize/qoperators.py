"""QLinear operators as float operators between Q/DQ pairs.

1. Each operand, integers with a scale and a zero point, goes through a DQ; the result goes through a Q.
2. A bias of integers becomes FP32 by the product of the scales of its two operands.
3. ConvInteger, MatMulInteger and what quantizes by the data at hand have no range that is known: they stay.

Sources: ONNX operator specification (QLinearConv, QLinearMatMul); onnxruntime docs/ContribOperators.md (the others).
"""

from __future__ import annotations

import collections
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from edgekit.quantize.legal.graph import DQ, Q, QdqGraph, attribute
from edgekit.quantize.legal.numbers import is_qoperator
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import Names


@dataclass(frozen=True)
class _Form:
    """The float operator, and how many operands of (integers, scale, zero point) come first; with 0 the scale and zero
    point of the result come first, and all others behind them."""

    op_type: str
    operands: int
    weight_axis: int = 0


_FORMS = {
    "QLinearConv": _Form("Conv", 2),
    "QLinearMatMul": _Form("MatMul", 2, -1),
    "QGemm": _Form("Gemm", 2, 1),
    "QLinearAdd": _Form("Add", 2),
    "QLinearMul": _Form("Mul", 2),
    "QLinearSigmoid": _Form("Sigmoid", 1),
    "QLinearLeakyRelu": _Form("LeakyRelu", 1),
    "QLinearGlobalAveragePool": _Form("GlobalAveragePool", 1),
    "QLinearAveragePool": _Form("AveragePool", 1),
    "QLinearSoftmax": _Form("Softmax", 1),
    "QLinearConcat": _Form("Concat", 0),
}
_OF_ORT = ("channels_last", "opset")


def qoperators_to_qdq(model: onnx.ModelProto) -> PassResult:
    """Rewrite in place all QLinear operators that have a float form."""
    writer = _Writer(model)
    done: collections.Counter[str] = collections.Counter()
    nodes: list[onnx.NodeProto] = []
    for node in writer.graph.nodes:
        made = writer.float_form(node) if is_qoperator(node) else []
        done[node.op_type] += bool(made)
        nodes += made or [onnx.NodeProto.FromString(node.SerializeToString())]
    total = done.total()
    if not total:
        return PassResult(model, False)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    told = ", ".join(f"{count} {op_type}" for op_type, count in done.items() if count)
    return PassResult(model, True, (f"qoperator: {total} in Q/DQ form now: {told}",))


class _Writer:
    """Writes the nodes that take the place of one, constants into the model."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = QdqGraph(model)
        self._model = model
        self._names = Names(model)
        self._dequantized: dict[tuple[str, ...], str] = {}

    def float_form(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes, last ones last; none where there is no such form."""
        form, inputs = _FORMS.get(node.op_type), list(node.input)
        if form is None or attribute(node, "channels_last", 0) or attribute(node, "opset", 13) < 13:
            return []
        out, bias = self._rest(form, inputs)
        first, last = (0, 3 * form.operands) if form.operands else (2, len(inputs))
        triples = [inputs[at : at + 3] for at in range(first, last, 3)]
        if any(self._is_several(triple[1]) for at, triple in enumerate(triples) if at != 1):
            return []  # only a weight has a scale a channel
        nodes: list[onnx.NodeProto] = []
        read = [self._operand(node, triple, form, nodes) for triple in triples]
        if bias:
            real = self._real_bias(node, bias, triples)
            if not real:
                return []
            read.append(real)
        result = self._names(f"{node.output[0]}_float") if out else node.output[0]
        nodes.append(_float_node(node, form, read, result))
        if out:
            nodes.append(onnx.helper.make_node(Q, [result, *out], list(node.output), self._names(f"{node.name}_q")))
        return nodes

    def _rest(self, form: _Form, inputs: list[str]) -> tuple[list[str], str]:
        """The scale and zero point of the result, none where it is float, and the bias."""
        if not form.operands:
            return inputs[:2], ""
        rest = inputs[3 * form.operands :]
        if form.op_type == "Gemm":
            return list(filter(None, rest[1:])), rest[0] if rest else ""
        return list(filter(None, rest[:2])), rest[2] if len(rest) > 2 else ""

    def _operand(self, node: onnx.NodeProto, triple: list[str], form: _Form, nodes: list[onnx.NodeProto]) -> str:
        """What comes out of the DQ of an operand; a new DQ goes to the nodes."""
        attributes: dict[str, Any] = {}
        if self._is_several(triple[1]):
            turned = form.op_type == "Gemm" and attribute(node, "transB", 0)
            attributes["axis"] = 0 if turned else form.weight_axis
        key = (*triple, str(attributes))
        if key not in self._dequantized:
            out = self._dequantized[key] = self._names(f"{triple[0]}_dq")
            nodes.append(onnx.helper.make_node(DQ, list(filter(None, triple)), [out], out, **attributes))
        return self._dequantized[key]

    def _is_several(self, scale: str) -> bool:
        stored = self.graph.tensor(scale)
        return stored is not None and math.prod(stored.dims) > 1

    def _real_bias(self, node: onnx.NodeProto, bias: str, triples: list[list[str]]) -> str:
        """The name of the bias in FP32; nothing where it or a scale is computed. A QGemm has it inside its alpha."""
        whole, *scales = [self.graph.value(name) for name in (bias, triples[0][1], triples[1][1])]
        if whole is None or scales[0] is None or scales[1] is None:
            return ""
        step = scales[0].astype(np.float64) * scales[1].astype(np.float64) * attribute(node, "alpha", 1.0)
        name = self._names(f"{bias}_float")
        self._model.graph.initializer.append(onnx.numpy_helper.from_array((whole * step).astype(np.float32), name))
        return name


def _float_node(node: onnx.NodeProto, form: _Form, read: list[str], out: str) -> onnx.NodeProto:
    """The operator under the same name, with the same attributes but those that only onnxruntime has."""
    made = onnx.helper.make_node(form.op_type, read, [out], node.name)
    made.attribute.extend(item for item in node.attribute if item.name not in _OF_ORT)
    return made
