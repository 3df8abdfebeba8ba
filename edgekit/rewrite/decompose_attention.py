"""Attention as the products and the softmax that it stands for, for those who cannot read it as one node.

1. Every chosen Attention node of the main graph goes; what it made keeps its name, its inputs stay as they are.
2. The usual forms become the pattern that TensorRT fuses: MatMul, mask, Softmax, MatMul. Present keys and values are
   the past ones with the new ones behind; a query row that may see nothing gives zeros.
3. Rare forms (softcap, a window, the scores as an output, nonpad_kv_seqlen, causal behind a past, a softmax of other
   precision, unknown sizes) become the operator's own definition from the ONNX package: right, too long to be fused.
4. A model without a chosen node stays as it is.

Source: ONNX operator specification, Attention-23 and Attention-24.
Shapes: N batch, h heads of the query, g heads of key and value, T rows of the query, P past, S = P + new keys, D sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx

from edgekit.rewrite import PassResult
from edgekit.rewrite.attention_node import AttentionNode, attention_nodes
from edgekit.rewrite.definition import definition_of
from edgekit.rewrite.names import Names

_INT64, _BOOL, _INT32 = onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.INT32
_LOWEST: dict[int, float] = {
    onnx.TensorProto.FLOAT16: -65504.0,
    onnx.TensorProto.BFLOAT16: -3.3895313892515355e38,
    onnx.TensorProto.FLOAT: -3.4028234663852886e38,
    onnx.TensorProto.DOUBLE: -1.7976931348623157e308,
}


def decompose_attention(model: onnx.ModelProto, which: Callable[[AttentionNode], bool]) -> PassResult:
    """Decompose in place the nodes that `which` chooses; ModelError where ONNX has no definition for one's form."""
    chosen = [item for item in attention_nodes(model) if which(item)]
    if not chosen:
        return PassResult(model, False)
    names = Names(model)
    by_index = {item.index: item for item in chosen}
    nodes: list[onnx.NodeProto] = []
    for at, node in enumerate(model.graph.node):
        item = by_index.get(at)
        if item is None:
            nodes.append(_copy(node))
        elif item.is_plain and item.dtype in _LOWEST:
            nodes += _Parts(model, names, item).nodes
        else:
            nodes += definition_of(node, item.opset, item.types, names)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return PassResult(model, True)


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    """Emptying the graph empties its nodes too."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


class _Parts:
    """The nodes that take the place of one Attention node, with their constants in the model's initializers."""

    def __init__(self, model: onnx.ModelProto, names: Names, item: AttentionNode) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._model, self._names, self._item = model, names, item
        self._prefix = item.node.name or item.node.output[0]
        self._write()

    def _write(self) -> None:
        item = self._item
        query, key, value = (self._heads(at) for at in range(3))
        key, value = (self._behind_past(at, name) for at, name in ((1, key), (2, value)))
        if item.kv_heads != item.heads:
            key, value = (self._repeated(name) for name in (key, value))
        root = abs(item.scale) ** 0.5
        scaled = self._node("Mul", query, self._number(root if item.scale >= 0 else -root))
        turned = self._node("Mul", self._node("Transpose", key, perm=[0, 1, 3, 2]), self._number(root))
        scores = self._node("MatMul", scaled, turned)
        scores, allowed = self._masked(scores, query, key)
        weights = self._node("Softmax", scores, axis=-1)
        last = "" if item.input(3) or item.axes == 3 else item.node.output[0]
        made = self._node("MatMul", weights, value, output=last)
        if item.input(3):
            made = self._seeing(made, allowed, "" if item.axes == 3 else item.node.output[0])
        if item.axes == 3:
            turned = self._node("Transpose", made, perm=[0, 2, 1, 3])
            self._node("Reshape", turned, self._sizes(0, 0, -1), output=item.node.output[0])

    def _heads(self, at: int) -> str:
        """q, k or v as [N,heads,steps,D]."""
        name = self._item.node.input[at]
        if self._item.axes == 4:
            return name
        heads = self._item.kv_heads if at else self._item.heads
        return self._node("Transpose", self._node("Reshape", name, self._sizes(0, 0, heads, -1)), perm=[0, 2, 1, 3])

    def _behind_past(self, at: int, name: str) -> str:
        """The new keys or values behind those of the past, which are an output too."""
        past, present = self._item.input(at + 3), self._item.output(at)
        if past:
            return self._node("Concat", past, name, axis=2, output=present)
        return self._node("Identity", name, output=present) if present else name

    def _repeated(self, name: str) -> str:
        """[N,g,S,D] -> [N,h,S,D]: every h / g heads of the query share one."""
        item = self._item
        each = self._sizes(1, 1, item.heads // item.kv_heads, 1, 1)
        wide = self._node("Expand", self._node("Unsqueeze", name, self._sizes(2)), each)
        size = self._node("Shape", name, start=2)
        shape = self._node("Concat", self._sizes(0, item.heads), size, axis=0)
        return self._node("Reshape", wide, shape)

    def _masked(self, scores: str, query: str, key: str) -> tuple[str, str]:
        """Scores with the lowest number where the mask or the future forbids, and what is allowed."""
        item, mask = self._item, self._item.input(3)
        allowed = mask
        if mask and item.dtypes[3] != _BOOL:
            scores = self._node("Add", scores, mask)
            allowed = self._node("GreaterOrEqual", mask, self._number(_LOWEST[item.dtype]))
        if item.causal:
            sizes = [self._node("Shape", name, start=2, end=3) for name in (query, key)]
            ones = self._node("ConstantOfShape", self._node("Concat", *sizes, axis=0), value=_one())
            lower = self._node("Cast", self._node("Trilu", ones, upper=0), to=_BOOL)
            allowed = self._node("And", allowed, lower) if allowed else lower
        if allowed:
            scores = self._node("Where", allowed, scores, self._number(_LOWEST[item.dtype]))
        return scores, allowed

    def _seeing(self, made: str, allowed: str, output: str) -> str:
        """Zeros where a row may see nothing."""
        as_number = self._node("Cast", allowed, to=_INT32)
        seen = self._node("ReduceMax", as_number, self._sizes(-1), keepdims=1)
        return self._node("Where", self._node("Cast", seen, to=_BOOL), made, self._number(0.0), output=output)

    def _node(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        name = self._names(f"{self._prefix}_{op}")
        output = output or name
        self.nodes.append(onnx.helper.make_node(op, list(inputs), [output], name, **attributes))
        return output

    def _number(self, value: float) -> str:
        return self._constant(onnx.helper.make_tensor("", self._item.dtype, [], [value]))

    def _sizes(self, *values: int) -> str:
        return self._constant(onnx.helper.make_tensor("", _INT64, [len(values)], values))

    def _constant(self, tensor: onnx.TensorProto) -> str:
        tensor.name = self._names(f"{self._prefix}_constant")
        self._model.graph.initializer.append(tensor)
        return tensor.name


def _one() -> onnx.TensorProto:
    return onnx.helper.make_tensor("", onnx.TensorProto.FLOAT, [1], [1.0])
