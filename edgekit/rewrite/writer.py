"""Writes the nodes that take the place of one node, with their constants in the model's initializers."""

from __future__ import annotations

from typing import Any

import onnx

from edgekit.rewrite.names import Names

_INT64, _FLOAT = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT


class NodeWriter:
    """`node` stands for the node that goes: new names begin with its own, or with that of what it makes.

    Every method returns the name of the tensor that it makes. `opset` is the model's, and decides the form of
    operators that changed; `dtype` is the element type of what the node reads, 0 where that is unknown.
    """

    def __init__(self, model: onnx.ModelProto, names: Names, node: onnx.NodeProto, dtype: int, opset: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.opset = opset
        self.dtype = dtype
        self._model, self._names = model, names
        self._prefix = node.name or node.output[0]

    def __call__(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Write a node of one output; without `output` that gets the node's own name."""
        name = self._names(f"{self._prefix}_{op}")
        made = output or name
        self.nodes.append(onnx.helper.make_node(op, list(inputs), [made], name, **attributes))
        return made

    def number(self, value: float) -> str:
        """A scalar of the element type of what the node reads; float32 where that is unknown."""
        return self._constant(onnx.helper.make_tensor("", self.dtype or _FLOAT, [], [value]))

    def mean(self, x: str, axes: tuple[int, ...]) -> str:
        """The mean of these axes, which stay with size 1; they became an input at opset 18."""
        if self.opset < 18:
            return self("ReduceMean", x, axes=list(axes), keepdims=1)
        return self("ReduceMean", x, self._constant(onnx.helper.make_tensor("", _INT64, [len(axes)], axes)))

    def clip(self, x: str, low: float, high: float, output: str) -> str:
        """Bounds became inputs at opset 11."""
        if self.opset < 11:
            return self("Clip", x, output=output, min=low, max=high)
        return self("Clip", x, self.number(low), self.number(high), output=output)

    def _constant(self, tensor: onnx.TensorProto) -> str:
        tensor.name = self._names(f"{self._prefix}_constant")
        self._model.graph.initializer.append(tensor)
        return tensor.name
