"""What helps where TensorRT refuses an operator: one short step, for the end of an error.

The remedies are ours; which operators are refused was asked of TensorRT-RTX 1.7.1, or found by building.
"""

from __future__ import annotations

import re

import onnx

from edgekit.rewrite.names import graphs_of
from edgekit.rewrite.recurrent_node import KINDS

_GENERAL = "leave that node out, or write it in operators that are imported"
_SEQUENCE = "write it with Split, Concat or a Loop over a tensor in place of a sequence"
_INTEGER = "quantize the float model with edgekit quantize --precision int8, or --relegalize"
_AFTER = "cut the graph before it, and compute what follows in the app"
_MICROSOFT = (
    "export without onnxruntime's graph optimizations, or save its optimized model at ORT_ENABLE_BASIC, "
    "which writes ONNX's own operators alone"
)
_BITWISE = ("BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor")
_SPECTRAL = "write it as a MatMul with constant weights, or compute it in the app"
_BY_OPERATOR = {
    **dict.fromkeys(("QLinearConv", "QLinearMatMul"), "edgekit quantize --precision int8 --relegalize"),
    **dict.fromkeys(("ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"), _INTEGER),
    **dict.fromkeys(("NonZero", "NonMaxSuppression", "Unique", "Compress", "Multinomial", "Bernoulli"), _AFTER),
    **dict.fromkeys(("ImageDecoder", "StringNormalizer", "TfIdfVectorizer", "LabelEncoder"), "compute it in the app"),
    **dict.fromkeys(("DFT", "MelWeightMatrix"), _SPECTRAL),
    **dict.fromkeys(_BITWISE, "write it with Mul, Div and Mod"),
    "Dropout": "export in inference mode (torch: model.eval())",
    "BatchNormalization": "export in inference mode (torch: model.eval())",
    "MaxUnpool": "write it with Resize or ConvTranspose",
    "Det": "write the determinant with products",
    "Einsum": "write it with Transpose and MatMul",
}


def remedy(node: onnx.NodeProto) -> str:
    """What to do about a refused node."""
    if node.domain.startswith(("com.microsoft", "com.ms.")):
        if node.op_type in ("Attention", "MultiHeadAttention", "GroupQueryAttention", "RotaryEmbedding"):
            return f"export the float model at opset 23, which has Attention, or {_MICROSOFT.removeprefix('export ')}"
        return _MICROSOFT
    return remedy_for(node.op_type)


def remedy_for(op_type: str) -> str:
    """The same by the name of one of ONNX's operators, as a parser's message has it."""
    if op_type in _BY_OPERATOR:
        return _BY_OPERATOR[op_type]
    if op_type in KINDS:
        return "--precision fp32, or give it constant weights and no sequence_lens"
    if "Sequence" in op_type:
        return _SEQUENCE
    if "Optional" in op_type:
        return "export with a tensor in its place"
    return _GENERAL


def blamed(model: onnx.ModelProto, said: str) -> onnx.NodeProto | None:
    """The node that a builder's message names, as `nms` in "nms_0 has no runners that implement it"; the longest name.

    None where it names none, which is usual: a builder speaks of what it fused.
    """
    found = [
        node
        for graph in graphs_of(model.graph)
        for node in graph.node
        if len(node.name) > 1 and re.search(rf"(?<!\w){re.escape(node.name)}(?:_\d+)?(?!\w)", said)
    ]
    return max(found, key=lambda node: len(node.name), default=None)
