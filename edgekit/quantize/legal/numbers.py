"""The rules on numbers: narrow types, zero points, one scale or many, biases, stored weights and QOperator forms."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from edgekit.quantize.legal.breach import Breach, breach
from edgekit.quantize.legal.graph import DQ, MICROSOFT, Edge, Q, QdqGraph, Scheme, Weight, label
from edgekit.rewrite.names import ONNX_DOMAINS

_TYPE = onnx.TensorProto
UNSIGNED = (_TYPE.UINT8, _TYPE.UINT4)
_IMPORTED = (_TYPE.INT8, _TYPE.INT4, _TYPE.FLOAT8E4M3FN, _TYPE.FLOAT4E2M1, *UNSIGNED)
_INTEGERS = (_TYPE.INT8, _TYPE.UINT8, _TYPE.INT4, _TYPE.UINT4)
_BIASED = ("Conv", "ConvTranspose", "Gemm", "LayerNormalization")
_QOPERATORS = {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
# onnxruntime's docs/ContribOperators.md, those that read or make integers.
_QOPERATORS_OF_ORT = {"QGemm", "QAttention", "QEmbedLayerNormalization", "QOrderedAttention", "QOrderedGelu"}
_QOPERATORS_OF_ORT |= {"QOrderedLayerNormalization", "QOrderedLongformerAttention", "QOrderedMatMul", "QLinearConcat"}
_QOPERATORS_OF_ORT |= {"DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulInteger16", "MatMulIntegerToFloat"}
_QOPERATORS_OF_ORT |= {"DequantizeWithOrder", "QuantizeWithOrder", "NhwcMaxPool", "QLinearConv"}


def is_qoperator(node: onnx.NodeProto) -> bool:
    """Whether an operator computes on integers itself, instead of on what a DQ makes of them."""
    if node.domain in ONNX_DOMAINS:
        return node.op_type in _QOPERATORS
    return node.domain == MICROSOFT and (node.op_type in _QOPERATORS_OF_ORT or node.op_type.startswith("QLinear"))


def bias_edges(graph: QdqGraph) -> Iterator[Edge]:
    """Every bias that comes out of a DQ: the third input of a layer, or what is added to a MatMul with a weight."""
    weighted = {id(weight.layer) for weight in graph.weights() if weight.layer.op_type == "MatMul"}
    for edge in graph.edges(graph.nodes):
        node = edge.reader
        if node.op_type in _BIASED and node.domain in ONNX_DOMAINS and edge.at == 2:
            yield edge
        elif node.op_type == "Add" and graph.is_constant(edge.dq.output[0]):
            other = graph.maker(node.input[1 - edge.at])
            while other is not None and other.op_type in (Q, DQ):
                other = graph.maker(other.input[0])
            if id(other) in weighted:
                yield edge


def wrong_axis(weight: Weight, scheme: Scheme) -> bool:
    """Whether the scales of a weight stand along another axis than that of its output channels."""
    several = scheme.scale is not None and scheme.scale.size > 1 and not scheme.block
    return several and scheme.axis % weight.rank != weight.axis


def integer_constants(graph: QdqGraph) -> Iterator[tuple[onnx.NodeProto, str]]:
    """Nodes that read stored narrow integers that a DQ should read first, and the name of these; also a DQ that reads a
    single one without axes, in front of which TensorRT's parser puts a node of its own."""
    for node in graph.nodes:
        if node.op_type in (Q, "Identity") or is_qoperator(node):
            continue
        for name in node.input[:1] if node.op_type == DQ else node.input:
            stored = graph.tensor(name)
            narrow = stored is not None and stored.data_type in _INTEGERS
            if stored is not None and narrow and (node.op_type != DQ or not stored.dims):
                yield node, name


def number_breaches(graph: QdqGraph) -> Iterator[Breach]:
    """All breaches of the rules on numbers."""
    for node in filter(is_qoperator, graph.nodes):
        yield breach("qoperator", node, node.output[0], f"{node.op_type} computes on integers")
    for node, name in integer_constants(graph):
        what = "the scalar" if node.op_type == DQ else "the stored integers"
        yield breach("integer-constant", node, name, f"{node.op_type} reads {what} {name!r}")
    biases = list(bias_edges(graph))
    yield from (_bias_breach(graph, edge) for edge in biases)
    told = {id(edge.dq) for edge in biases}
    for node in graph.quantizers():
        if id(node) not in told and not _follows_q(graph, node):
            yield from _scheme_breaches(graph, node)
    yield from _weight_breaches(graph)


def _bias_breach(graph: QdqGraph, edge: Edge) -> Breach:
    scheme = graph.scheme(edge.dq)
    rule = "int32-bias" if scheme.dtype == _TYPE.INT32 else "quantized-bias"
    name = graph.before(edge.dq) or edge.dq.input[0]
    return breach(rule, edge.reader, name, f"the bias {name!r} is {scheme}")


def _follows_q(graph: QdqGraph, node: onnx.NodeProto) -> bool:
    """Whether a DQ belongs to a Q, of which all is said already."""
    return node.op_type == DQ and graph.maker(node.input[0], Q) is not None


def _scheme_breaches(graph: QdqGraph, node: onnx.NodeProto) -> Iterator[Breach]:
    """What is wrong with the type, the zero point and the number of scales of a pair, or of a DQ on its own."""
    scheme, name = graph.scheme(node), node.input[0]
    constant = graph.is_constant(name)
    what = f"{'stored' if constant else 'activation'} {name!r} is {scheme}"
    if scheme.dtype and scheme.dtype not in _IMPORTED:
        yield breach("quantized-type", node, name, what)
    elif scheme.shifted:
        yield breach("zero-point", node, name, what)
    elif scheme.dtype in UNSIGNED:
        unsaid = node.op_type == Q and scheme.zero is None
        yield breach("unsigned", node, name, what + (": no zero point says otherwise" if unsaid else ""))
    if not constant and not scheme.scalar:
        yield breach("per-channel-activation", node, name, f"activation {name!r} has {what.partition(', ')[2]}")


def _weight_breaches(graph: QdqGraph) -> Iterator[Breach]:
    for weight in graph.weights():
        scheme, name = graph.scheme(weight.dq), graph.before(weight.dq) or weight.dq.input[0]
        if wrong_axis(weight, scheme):
            told = f"the weight {name!r} has its scales along axis {scheme.axis}, expected {weight.axis}"
            yield breach("weight-axis", weight.layer, name, told)
        if graph.before(weight.dq):
            told = f"the weight {name!r} is stored in floating point before {label(weight.dq)!r}"
            yield breach("float-weight", weight.layer, name, told)
