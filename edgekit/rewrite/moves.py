"""Operators that only move values: what comes out went in, each number as it was, so that a dtype can pass through."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from edgekit.rewrite.names import ONNX_DOMAINS

# Their first input has the values, the others say where to.
_OF_FIRST = {
    *("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten", "Slice", "Expand", "Gather", "Split"),
}
# Every input has values.
_OF_ALL = {"Concat"}


def moved(node: onnx.NodeProto) -> Sequence[str]:
    """The inputs whose values the node moves into its outputs; none where it does anything else."""
    if node.domain not in ONNX_DOMAINS:
        return ()
    if node.op_type in _OF_ALL:
        return list(node.input)
    return list(node.input[:1]) if node.op_type in _OF_FIRST else ()
