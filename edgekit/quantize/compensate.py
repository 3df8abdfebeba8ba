"""Which weights GPTQ can round in a prepared model, and on which of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import onnx

from edgekit.data import Samples
from edgekit.quantize.choice import Choice, Prepared, Subject
from edgekit.quantize.gptq8 import Product, gptq_int8
from edgekit.quantize.smooth import can_smooth
from edgekit.reports import Progress
from edgekit.rewrite.names import Names

_W, _R = 1, 2


def with_gptq(
    subject: Subject, choice: Choice, stream: Callable[[], Iterator[Samples]], progress: Progress
) -> Subject | None:
    """The subject with weights rounded for `choice`; None where there is nothing that GPTQ could round.

    `stream` gives the samples anew that ranges come from.
    """
    prepared = subject.prepared(choice)
    products = [*_of_layers(prepared), *_of_recurrent(prepared.model, {unit.node for unit in subject.recurrent})]
    if not products or not subject.form.per_channel or subject.form.float8:
        return None
    return replace(subject, rounded=gptq_int8(prepared.model, products, stream, progress, half=subject.form.half))


def _of_layers(prepared: Prepared) -> Iterator[Product]:
    """Products with a weight of two axes; the inputs of a convolution would have to be cut into patches first."""
    for layer in prepared.layers:
        if can_smooth(layer, prepared.model):
            yield Product(layer.node, 1, layer.weight, layer.activation, transposed=layer.axis == 0)


def _of_recurrent(model: onnx.ModelProto, nodes: set[str]) -> Iterator[Product]:
    """W meets the input, R the state of each direction: adds the nodes that make those states to `model`.

    R meets the states one step after they are put out: their second moments are the same, but for a single step, and
    for the last gate of a GRU whose linear_before_reset is 0, which meets them weighed.
    """
    names = Names(model)
    wide = {tensor.name: tensor.dims for tensor in model.graph.initializer if len(tensor.dims) == 3}
    for node in [node for node in model.graph.node if node.name in nodes]:
        if not node.output[0]:
            node.output[0] = names(f"{node.name}_states")
        for index in (index for index in (_W, _R) if min(wide[node.input[index]][1:]) > 1):
            for direction in range(wide[node.input[index]][0]):
                tensor = node.input[0] if index == _W else _state(model, node, direction, names)
                yield Product(node.name, index, node.input[index], tensor, transposed=True, direction=direction)


def _state(model: onnx.ModelProto, node: onnx.NodeProto, direction: int, names: Names) -> str:
    """[T,N,H] of Y [T,D,N,H]."""
    which, out = names(f"{node.name}_direction"), names(f"{node.name}_state")
    model.graph.initializer.append(onnx.helper.make_tensor(which, onnx.TensorProto.INT64, [], [direction]))
    model.graph.node.append(onnx.helper.make_node("Gather", [node.output[0], which], [out], name=out, axis=1))
    return out
