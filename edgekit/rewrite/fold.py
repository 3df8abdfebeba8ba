"""Compute what follows from constants alone, so that other passes find weights where they look for them.

1. For each wanted tensor that nodes make from initializers, and from nothing else, those nodes are run once.
2. The tensor becomes an initializer with its own name; nodes and initializers that no one reads any more go.
3. A tensor that depends on an input or on chance, or that the reference implementation cannot compute, stays.

torch's exporter slices and joins the weights of a GRU inside the graph to bring their gates into ONNX's order.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from edgekit.rewrite import PassResult
from edgekit.rewrite.unread import drop_unread

# Their inputs are constants, their outputs are none.
_RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


def fold(model: onnx.ModelProto, wanted: Iterable[str]) -> PassResult:
    """Fold in place."""
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    modified = False
    for name in dict.fromkeys(wanted):
        if name in makers:
            nodes = _makers_of(name, makers, initializers)
            tensor = _computed(model, name, nodes, initializers) if nodes else None
            if tensor is not None:
                makers[name].output[list(makers[name].output).index(name)] = f"{name}_folded"
                graph.initializer.append(tensor)
                initializers[name] = tensor
                modified = True
    if modified:
        drop_unread(model)
    return PassResult(model, modified)


def _makers_of(
    name: str, makers: dict[str, onnx.NodeProto], initializers: dict[str, onnx.TensorProto]
) -> list[onnx.NodeProto]:
    """All nodes that `name` follows from, first ones first; empty when one of them needs more than initializers."""
    found: dict[str, onnx.NodeProto] = {}
    open_names = [name]
    while open_names:
        current = open_names.pop()
        if not current or current in initializers:
            continue
        node = makers.get(current)
        if (
            node is None
            or node.op_type in _RANDOM
            or any(item.type == onnx.AttributeProto.GRAPH for item in node.attribute)
        ):
            return []
        if current not in found:
            found[current] = node
            open_names += node.input
    order = {id(node): index for index, node in enumerate(makers.values())}
    return sorted({id(node): node for node in found.values()}.values(), key=lambda node: order[id(node)])


def _computed(
    model: onnx.ModelProto, name: str, nodes: list[onnx.NodeProto], initializers: dict[str, onnx.TensorProto]
) -> onnx.TensorProto | None:
    from onnx.reference import ReferenceEvaluator  # late: only a model with such weights needs it

    read = {item for node in nodes for item in node.input if item in initializers}
    constants = [initializers[item] for item in sorted(read)]
    graph = onnx.helper.make_graph(nodes, "folded", [], [onnx.ValueInfoProto(name=name)], constants)
    try:
        (value,) = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=model.opset_import)).run(None, {})
        return onnx.numpy_helper.from_array(value, name)  # type: ignore[arg-type]  # one that is no array fails
    except Exception:  # an operator it does not have, or a sequence: it stays computed
        return None
