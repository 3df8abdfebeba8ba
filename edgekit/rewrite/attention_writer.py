"""Writes EdgekitAttention and what brings its operands into their form; equal masks once for all that read them."""

from __future__ import annotations

from typing import Any

import onnx

from edgekit.plugins.operators import DOMAIN, NAMESPACE, OPERATORS, PLUGIN_VERSION
from edgekit.rewrite.attention_parts import FLOAT, INFINITY, Attending, Head, Masked
from edgekit.rewrite.names import Names

_INT32, _INT64, _BOOL = onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.BOOL
_LOWEST = -3.4028234663852886e38  # of FP32


class AttentionWriter:
    """For the attentions of one model, in its order."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph, self._names = model.graph, Names(model)
        self._constants: dict[tuple[Any, ...], str] = {}
        self._biases: dict[tuple[Any, ...], str] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._prefix = ""

    def nodes(self, item: Attending) -> list[onnx.NodeProto]:
        """The nodes that take the place of one attention."""
        self._nodes, self._prefix = [], item.node.name or item.o
        inputs = self._inputs(item)
        dtype = item.sizes.dtype
        operator = OPERATORS["EdgekitAttention"]
        for name in operator.inputs:
            inputs[name] = inputs.get(name) or self._absent(_INT32 if "length" in name else dtype)
        split = item.q.heads > 0
        cache = item.cache
        wanted = ("" if split else item.o, *((cache.present_k, cache.present_v) if cache is not None else ("", "")))
        ends = zip(wanted, operator.outputs, strict=True)
        outputs = [name or self._names(f"{self._prefix}_{end}") for name, end in ends]
        name = item.node.name or self._names(f"{item.o}_attention")
        given = [inputs[name] for name in operator.inputs]
        self._nodes.append(onnx.helper.make_node(operator.name, given, outputs, name, domain=DOMAIN, **_fields(item)))
        if split:
            turned = self._node("Transpose", outputs[:1], perm=[0, 2, 1, 3])
            self._node("Reshape", [turned, self._sizes(0, 0, -1)], item.o)
        return self._nodes

    def _inputs(self, item: Attending) -> dict[str, str]:
        """By name, absent ones left out."""
        heads = {"q": self._head(item.q), "k": self._head(item.k), "v": self._head(item.v)}
        for name, copy in zip("kv", item.copies, strict=True):
            if copy:
                self._node("Identity", [heads[name]], copy)
        more = {"bias": self._bias(item, heads["k"])}
        if item.scoring.lengths:
            more["key_lengths"] = self._node("Cast", [item.scoring.lengths], to=_INT32)
        if item.cache is not None:
            more |= {"past_k": item.cache.past_k, "past_v": item.cache.past_v}
        return heads | more

    def _head(self, head: Head) -> str:
        """An operand as [N,heads,S,D]."""
        name = head.tensor
        if head.heads:
            name = self._node("Reshape", [name, self._sizes(0, 0, head.heads, -1)])
            return self._node("Transpose", [name], perm=[0, 2, 1, 3])
        return self._node("Transpose", [name], perm=list(head.perm)) if head.perm else name

    def _bias(self, item: Attending, k: str) -> str:
        """All masks as one tensor to add; empty where there are none."""
        masks, dtype = item.scoring.masks, item.sizes.dtype
        key = (masks, dtype, (k, item.cache and item.cache.past_k) if item.scoring.padded else None)
        if masks and key not in self._biases:
            kind = dtype if all(_fits(mask, dtype) for mask in masks) else FLOAT
            made = ""
            for mask in masks:
                made = self._masked(made, mask, kind)
            self._biases[key] = self._padded(item, made, k, kind) if item.scoring.padded else made
        return self._biases[key] if masks else ""

    def _masked(self, bias: str, mask: Masked, kind: int) -> str:
        """The bias [..] of this type with one more mask in it."""
        if mask.keeps is None:
            added = mask.tensor if mask.dtype == kind else self._node("Cast", [mask.tensor], to=kind)
            return self._node("Add", [bias, added]) if bias else added
        kept = bias or self._number(kind, 0.0)
        other = self._number(kind, _LOWEST if mask.lowest > -INFINITY else -INFINITY)
        return self._node("Where", [mask.tensor, *((kept, other) if mask.keeps else (other, kept))])

    def _padded(self, item: Attending, bias: str, k: str, kind: int) -> str:
        """Filled up with -infinity, [..,S] -> [..,P + S_kv]."""
        total = self._node("Shape", [k], start=2, end=3)
        if item.cache is not None:
            past = self._node("Shape", [item.cache.past_k], start=2, end=3)
            total = self._node("Add", [total, past])
        missing = self._node("Sub", [total, self._node("Shape", [bias], start=-1)])
        pads = self._node("Concat", [self._sizes(0), missing], axis=0)
        return self._node("Pad", [bias, pads, self._number(kind, -INFINITY), self._sizes(-1)])

    def _node(self, op: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        name = self._names(f"{self._prefix}_{op}")
        self._nodes.append(onnx.helper.make_node(op, inputs, [output or name], name, **attributes))
        return output or name

    def _absent(self, kind: int) -> str:
        return self._constant("no_lengths" if kind == _INT32 else "no_numbers", kind, [0], [])

    def _sizes(self, *values: int) -> str:
        return self._constant("sizes", _INT64, [len(values)], list(values))

    def _number(self, kind: int, value: float) -> str:
        return self._constant("number", kind, [], [value])

    def _constant(self, called: str, kind: int, dims: list[int], values: list[Any]) -> str:
        key = (kind, tuple(dims), tuple(values))
        if key not in self._constants:
            name = self._constants[key] = self._names(f"{DOMAIN}_{called}")
            self._graph.initializer.append(onnx.helper.make_tensor(name, kind, dims, values))
        return self._constants[key]


def _fits(mask: Masked, dtype: int) -> bool:
    """Whether a bias of the operands' type can hold a mask."""
    return mask.dtype == dtype if mask.keeps is None else mask.lowest == -INFINITY


def _fields(item: Attending) -> dict[str, Any]:
    """The attributes, in the types that the parser takes for the plugin's fields."""
    scoring = item.scoring
    return {
        "scale": float(scoring.scale),
        "causal": int(scoring.causal),
        "at_end": int(bool(scoring.lengths)),
        "window_left": scoring.window_left,
        "window_right": scoring.window_right,
        "softcap": float(scoring.softcap),
        "in_place": 0,
        "plugin_version": PLUGIN_VERSION,
        "plugin_namespace": NAMESPACE,
    }
