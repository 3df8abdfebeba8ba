"""Operators of other domains, which TensorRT's parser knows by name alone; nothing is rewritten.

1. An operator of onnxruntime's domains that is left after `microsoft` is refused, with what helps; but for those that
   TensorRT-RTX imports as onnxruntime means them, of which a note says so.
2. An operator of any other domain that has the name of one of ONNX's is refused: it would be taken for ONNX's.
3. Other names are a plugin's, and left to the parser.

Which names TensorRT-RTX 1.7.1 knows was asked of its parser (`supports_operator`).
"""

from __future__ import annotations

import functools

import onnx

from edgekit.errors import BuildError
from edgekit.rewrite import PassResult
from edgekit.rewrite.microsoft import DOMAIN, SAME_AS_ONNX
from edgekit.rewrite.names import ONNX_DOMAINS, graphs_of
from edgekit.rewrite.remedies import remedy

# No operator of ONNX has these names, so that the parser's importers can only mean onnxruntime's.
_IMPORTED = ("GroupQueryAttention", "MatMulNBits", "MultiHeadAttention", "QMoE", "SkipSimplifiedLayerNormalization")


def check_domains(model: onnx.ModelProto) -> PassResult:
    """Return the model as it is; BuildError names the first node that would be refused, or taken for another."""
    imported: dict[str, int] = {}
    for graph in graphs_of(model.graph):
        for node in graph.node:
            if node.domain in ONNX_DOMAINS:
                continue
            if node.domain == DOMAIN and node.op_type in _IMPORTED:
                imported[node.op_type] = imported.get(node.op_type, 0) + 1
            elif node.domain != DOMAIN or node.op_type not in SAME_AS_ONNX:
                _check(node)
    notes = (
        f"{count} {op_type} of onnxruntime's domain: imported as TensorRT reads them, not compared here"
        for op_type, count in imported.items()
    )
    return PassResult(model, False, tuple(notes))


def _check(node: onnx.NodeProto) -> None:
    said = f"node {node.name!r} ({node.domain}::{node.op_type})"
    if node.domain.startswith((DOMAIN, "com.ms.")):
        raise BuildError(f"expected operators of ONNX, found onnxruntime's own at {said}", remedy(node))
    if node.op_type in _names_of_onnx():
        raise BuildError(
            f"expected an operator that ONNX has not, found {said}, which TensorRT would take for ONNX's by its name",
            f"rename it, or give it the empty domain where it is ONNX's {node.op_type}",
        )


@functools.cache
def _names_of_onnx() -> frozenset[str]:
    return frozenset(schema.name for schema in onnx.defs.get_all_schemas() if schema.domain in ONNX_DOMAINS)
