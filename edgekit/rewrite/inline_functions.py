"""Functions that a file brings along, written out where they are called.

1. Every call of a model-local function becomes the nodes of its body, functions that call others too.
2. A body of another opset is taken as it is: its operators did not change between the two, or onnx's checker would
   have refused the file. It also refuses functions that call themselves.
3. An operator that still has a function's name afterwards is an error: it would be taken for another.

Source: ONNX IR specification, "Model-local functions"; onnx.inliner.
"""

from __future__ import annotations

import onnx
import onnx.inliner

from edgekit.errors import ModelError, first_line
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import ONNX_DOMAINS, graphs_of
from edgekit.rewrite.replacing import opset_of


def inline_functions(model: onnx.ModelProto) -> PassResult:
    """Return a new model without functions; ModelError where onnx cannot write one out."""
    if not model.functions:
        return PassResult(model, False)
    names = {(function.domain, function.name) for function in model.functions}
    try:
        made = _inlined(model)
    except Exception as error:  # what the inliner's C++ raises
        raise ModelError(
            f"expected functions that onnx can write out, found {_said(names)}: {first_line(error, 200)}",
            "export it with its functions inlined",
        ) from error
    for graph in graphs_of(made.graph):
        for node in graph.node:
            if (node.domain, node.op_type) in names:
                raise ModelError(
                    f"expected a function {node.domain}::{node.op_type} that onnx can write out at node {node.name!r}, "
                    "found that it left it",
                    "export it with its functions inlined",
                )
    return PassResult(made, True)


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    opset = opset_of(model)
    if all(opset_of(item) in (0, opset) for item in model.functions):
        return onnx.inliner.inline_local_functions(model)
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for entry in (entry for item in copy.functions for entry in item.opset_import):
        entry.version = opset if entry.domain in ONNX_DOMAINS else entry.version
    return onnx.inliner.inline_local_functions(copy)


def _said(names: set[tuple[str, str]]) -> str:
    return ", ".join(sorted(f"{domain}::{name}" for domain, name in names))[:200]
