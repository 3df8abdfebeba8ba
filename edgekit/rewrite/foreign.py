"""Foreign graphs in the form that TensorRT reads, or an error that says what stands in the way.

In this order, each where it has something to do:

1. `interface`: inputs and outputs that TensorRT cannot have are refused.
2. `inline_functions`: functions that the file brings are written out.
3. `sparse`: sparse weights become dense.
4. `microsoft`: what onnxruntime's optimizers write becomes ONNX's own operators.
5. `domains`: operators of other domains that would be refused, or taken for others, are refused by name.
6. `node_names`: every node gets a name of its own.
7. `doubles`: a note says what is computed in float32 in place of double precision.

A model with none of these comes back as it is.
"""

from __future__ import annotations

import onnx

from edgekit.rewrite import PassResult
from edgekit.rewrite.domains import check_domains
from edgekit.rewrite.doubles import note_doubles
from edgekit.rewrite.inline_functions import inline_functions
from edgekit.rewrite.interface import check_interface
from edgekit.rewrite.microsoft import DOMAIN, decompose_microsoft
from edgekit.rewrite.names import graphs_of
from edgekit.rewrite.node_names import name_nodes
from edgekit.rewrite.sparse import densify


def standard(model: onnx.ModelProto) -> PassResult:
    """Return the model for TensorRT's parser, `modified` where it is not the file's any more; it may be consumed.

    The model has passed onnx's checker. Raises ModelError or BuildError of one line, with a remedy.
    """
    check_interface(model)
    inlined = inline_functions(model)
    model, modified, notes = inlined.model, inlined.modified, list(inlined.notes)
    graphs = list(graphs_of(model.graph))
    domains = {node.domain for graph in graphs for node in graph.node} - {"", "ai.onnx"}
    is_sparse = any(graph.sparse_initializer for graph in graphs)
    has_constants = any(node.op_type == "Constant" for graph in graphs for node in graph.node)
    passes = [name_nodes, note_doubles]
    if domains:
        passes.insert(0, check_domains)
    if DOMAIN in domains:
        passes.insert(0, decompose_microsoft)
    if is_sparse or has_constants:
        passes.insert(0, densify)
    for run in passes:
        done = run(model)
        model = done.model
        modified |= done.modified
        notes += done.notes
    return PassResult(model, modified, tuple(notes))
