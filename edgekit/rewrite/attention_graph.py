"""A graph as one looks for attention in it: who makes and who reads a tensor, its constants, its sizes.

Whether two tensors agree in a size, or one is broadcast over the other, is asked at a probe (`attention_probe`).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import onnx

from edgekit.rewrite.attention_probe import is_shaped, probe
from edgekit.rewrite.bare import without_weights
from edgekit.rewrite.names import ONNX_DOMAINS
from edgekit.rewrite.replacing import opset_of
from edgekit.rewrite.sort_nodes import names_used

_MOST_ELEMENTS = 64
Shape = tuple[int, ...]


class AttentionGraph:
    """The main graph of a model, which must not change while this is used."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.opset = opset_of(model)
        self._makers = {name: node for node in self.nodes for name in node.output if name}
        self._places = {id(node): place for place, node in enumerate(self.nodes)}
        self._outputs = {value.name for value in model.graph.output}
        self._uses = Counter(name for node in self.nodes for name in names_used(node))
        self._uses.update(self._outputs)
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                self._readers.setdefault(name, []).append(node)
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        told = ((node.output[0], _tensor_of(node)) for node in self.nodes if node.op_type == "Constant")
        self._constants |= {name: tensor for name, tensor in told if tensor is not None}
        self._probe, self._names = probe(model), _named_sizes(model)

    def place(self, node: onnx.NodeProto) -> int:
        """Where it stands."""
        return self._places[id(node)]

    def maker(self, name: str, *ops: str) -> onnx.NodeProto | None:
        """The node of ONNX's operators that makes a tensor, if it is one of these."""
        node = self._makers.get(name)
        return node if node is not None and node.domain in ONNX_DOMAINS and (not ops or node.op_type in ops) else None

    def readers(self, name: str, count: int) -> list[onnx.NodeProto]:
        """The nodes that read a tensor, if it is this many, each once, in this graph, and no one else."""
        found = self._readers.get(name, [])
        alone = self._uses[name] == len(found) == count and all(node.domain in ONNX_DOMAINS for node in found)
        return found if alone else []

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        """The node that alone reads a tensor, once."""
        return next(iter(self.readers(name, 1)), None)

    def follows_from(self, names: list[str]) -> set[str]:
        """The names of all that these are computed from, and their own."""
        found, front = set(names), list(names)
        while front:
            node = self._makers.get(front.pop())
            for name in names_used(node) if node is not None else ():
                if name not in found:
                    found.add(name)
                    front.append(name)
        return found

    def scalar(self, name: str) -> float | None:
        """A constant of one element."""
        values = self.values(name)
        return values[0] if values is not None and len(values) == 1 else None

    def rank(self, name: str) -> int:
        """The number of axes of a constant."""
        node = self.maker(name, "Identity")
        return len(self._constants[node.input[0] if node is not None else name].dims)

    def values(self, name: str) -> list[Any] | None:
        """The elements of a small constant, flat."""
        node = self.maker(name, "Identity")
        tensor = self._constants.get(node.input[0] if node is not None else name)
        if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
            return None
        array = onnx.numpy_helper.to_array(tensor)
        return None if array.size > _MOST_ELEMENTS else list(array.ravel().tolist())

    def shape(self, name: str) -> Shape | None:
        """The sizes at the probe."""
        return self._probe[name].shape if name in self._probe else None

    def dtype(self, name: str) -> int:
        """The element type, 0 when unknown."""
        return self._probe[name].dtype if name in self._probe else 0

    def size(self, name: str, axis: int) -> int | str | None:
        """A size as it always is: a number, or the name of an input's open one."""
        shape = self._names.get(name)
        return shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """An attribute's value."""
    found = next((item for item in node.attribute if item.name == name), None)
    return default if found is None else onnx.helper.get_attribute_value(found)


def _tensor_of(node: onnx.NodeProto) -> Any:
    """What a Constant node holds as a tensor."""
    if node.op_type != "Constant" or node.domain not in ONNX_DOMAINS:
        return None
    for name, kind in (("value_float", onnx.TensorProto.FLOAT), ("value_int", onnx.TensorProto.INT64)):
        one, many = attribute(node, name), attribute(node, f"{name}s")
        if one is not None:
            return onnx.helper.make_tensor("", kind, [], [one])
        if many is not None:
            return onnx.helper.make_tensor("", kind, [len(many)], many)
    return attribute(node, "value")


def _named_sizes(model: onnx.ModelProto) -> dict[str, tuple[int | str | None, ...]]:
    """Sizes as the inference knows them; names that it made itself are none."""
    bare = without_weights(model)
    said = {dim.dim_param for value in bare.graph.input for dim in value.type.tensor_type.shape.dim}
    try:
        graph = onnx.shape_inference.infer_shapes(bare, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return {}
    found: dict[str, tuple[int | str | None, ...]] = {}
    for value in (*graph.input, *graph.value_info):
        if is_shaped(value):
            dims = value.type.tensor_type.shape.dim
            found[value.name] = tuple(
                dim.dim_value if dim.HasField("dim_value") else dim.dim_param if dim.dim_param in said else None
                for dim in dims
            )
    return found
