"""LSTM, GRU and RNN as an input projection and edgekit's operator, whose kernel runs a whole sequence in one launch.

1. Each node that `which` takes goes. In its place stand MatMul, Add and Reshape, xproj = x W^T + Wb + Rb of all steps
   [T,N,D,GH], and EdgekitLSTM, EdgekitGRU or EdgekitRNN with the node's name. No size is written into them but D and
   GH, which weights have anyway: T and N stay open.
2. Of a GRU the candidate's Rb stays out of the sum and is `rb_h`, with linear_before_reset as without.
3. What the node made keeps its name; outputs that it does not have get names that no one reads, since a plugin has
   them all. With layout 1 (batch first) there are
   Transposes around it. In FP16 the product is of FP16 and Casts lead to the FP32 of xproj, of the states and of y.
4. Weights are constants: initializers here or around, Constant nodes, or computed from those. INT8 with a scale a row
   goes into the operator as it is stored, with `r_scale`; of W it stays behind a DequantizeLinear, turned for the
   MatMul. INT8 of any other form becomes the floats that it stands for. Other recurrent weights have the node's type,
   or are FP16 with `weights` "fp16": then the product is of FP16 too where x is known to be cast up from there.
5. An absent input is a constant of no elements; the domain `edgekit` is imported as version 1.
6. Nodes inside of If are taken too, with their constants in the main graph; those inside of anything else are left, and
   so are those that edgekit's operators do not compute (`RecurrentNode.uncovered`) or whose weights are no constants.
7. Constants and nodes that no one reads any more go. A model of which nothing is taken stays as it is.

Source: ONNX operator specification, LSTM-22, GRU-22, RNN-22; `edgekit.plugins.operators` for edgekit's own.
Shapes: T steps, N batch, I input, H hidden, D directions, G gates (LSTM 4, GRU 3, RNN 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import onnx

from edgekit.plugins.operators import DOMAIN, FLOAT, NAMESPACE, OPERATORS, PLUGIN_VERSION, Operator
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import Names
from edgekit.rewrite.recurrent_node import RecurrentNode, Scope, attributes_of, inputs_of, scopes_of
from edgekit.rewrite.recurrent_weights import Array, Stored, Weights, in_half, weights_of
from edgekit.rewrite.shapes_at import Known
from edgekit.rewrite.unread import drop_unread

_FLOAT, _INT32, _INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32, onnx.TensorProto.INT64
KEEP, FP16 = "keep", "fp16"


def recurrent_to_plugin(
    model: onnx.ModelProto,
    which: Callable[[RecurrentNode], str],
    weights: str = KEEP,
    known: Mapping[str, Known] | None = None,
) -> PassResult:
    """Rewrite in place; the notes say how many nodes were taken, and of each that was left why.

    `which` returns "" to take a node, or a reason to leave it. It is asked of nodes that could be taken, with `dtype`,
    `hidden` and `int8` as their weights have them; `steps` and `batch` are those of `known`, what `shapes_at` knows of
    the main graph, and else 0. `weights` is "keep", or "fp16" for recurrent weights of FP16 where they are FP32.
    """
    chosen: list[tuple[Scope, dict[int, tuple[RecurrentNode, Weights]]]] = []
    left = []
    for scope in scopes_of(model, known or {}):
        taken: dict[int, tuple[RecurrentNode, Weights]] = {}
        for at, item in scope.nodes():
            found = _taken(item, scope, which)
            if isinstance(found, str):
                left.append(f"{item.node.op_type} {item.path + item.node.name!r} stays as it is: {found}")
            else:
                taken[at] = found
        chosen.append((scope, taken))
    count = sum(len(taken) for _, taken in chosen)
    if not count:
        return PassResult(model, False, tuple(left))
    writer = _Writer(model, weights == FP16)
    rewritten = {scope.path for scope, taken in chosen if taken}
    for scope, taken in reversed(chosen):  # inner graphs first: to rewrite an outer one copies them
        if taken:
            _rebuild(scope.graph, {at: writer.nodes(scope, *found) for at, found in taken.items()})
        if scope.path and any(path.startswith(scope.path) for path in rewritten):
            _drop_unread_inside(scope.graph)
    if all(entry.domain != DOMAIN for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    model.ir_version = max(model.ir_version, 4)  # before, every initializer had to be an input as well
    drop_unread(model)
    told = f"{count} of {count + len(left)} recurrent nodes became edgekit's operators"
    return PassResult(model, True, (told, *left, *writer.notes))


def _taken(
    item: RecurrentNode, scope: Scope, which: Callable[[RecurrentNode], str]
) -> tuple[RecurrentNode, Weights] | str:
    """A node as its weights have it, and those; or the reason to leave it."""
    if item.uncovered:
        return item.uncovered
    around = [part for part in item.path.split("/") if part and not part.startswith("If.")]
    if around:
        return f"it stands inside of {around[0]}"
    found = weights_of(item, scope)
    if isinstance(found, str):
        return found
    exact = replace(item, dtype=found.w.dtype, hidden=found.r.values.shape[2], int8=found.r.scale is not None)
    return which(exact) or (exact, found)


def _rebuild(graph: onnx.GraphProto, replaced: dict[int, list[onnx.NodeProto]]) -> None:
    """Put the nodes that take others' places where those stood."""
    nodes = []
    for at, node in enumerate(graph.node):
        copy = onnx.NodeProto()
        copy.CopyFrom(node)  # emptying the graph empties its nodes too
        nodes += replaced.get(at, [copy])
    del graph.node[:]
    graph.node.extend(nodes)


def _drop_unread_inside(graph: onnx.GraphProto) -> None:
    alone = onnx.ModelProto(graph=graph)
    drop_unread(alone)
    graph.CopyFrom(alone.graph)


class _Writer:
    """Writes what takes the place of each node; constants go into the main graph, equal ones once."""

    def __init__(self, model: onnx.ModelProto, half: bool) -> None:
        self.notes: list[str] = []
        self._graph, self._names, self._half = model.graph, Names(model), half
        self._stored: dict[tuple[int, tuple[int, ...], bytes], str] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._prefix = ""

    def nodes(self, scope: Scope, item: RecurrentNode, weights: Weights) -> list[onnx.NodeProto]:
        """The nodes of one."""
        self._nodes, self._prefix = [], item.node.name or next(name for name in item.node.output if name)
        operator, given = OPERATORS[f"Edgekit{item.node.op_type}"], inputs_of(item.node)
        r, r_scale = self._recurrent(item, weights)
        inputs = {
            "xproj": self._projection(scope, item, weights),
            "r": r,
            "r_scale": r_scale,
            "lengths": given.get("sequence_lens", ""),
            "h0": self._state(item, given.get("initial_h", "")),
            "c0": self._state(item, given.get("initial_c", "")),
            "rb_h": "" if weights.rb_h is None else self._constant(weights.rb_h, "rb_h"),
        }
        self._operator(item, operator, [inputs[name] or self._absent(name) for name in operator.inputs])
        return self._nodes

    def _projection(self, scope: Scope, item: RecurrentNode, weights: Weights) -> str:
        """x W^T + Wb + Rb as [T,N,D,GH]."""
        x, w = item.node.input[0], weights.w
        narrow = _cast_from_half(x, scope) if self._half and w.scale is None else ""
        half = in_half(w) if narrow else None
        if half is not None:
            x, w = narrow, half
        if _batch_first(item):
            x = self._node("Transpose", [x], perm=[1, 0, 2])
        made = self._node("MatMul", [x, self._projecting(w)])
        if w.dtype != _FLOAT:
            made = self._node("Cast", [made], to=_FLOAT)
        if weights.bias is not None:
            made = self._node("Add", [made, self._constant(weights.bias, "bias")])
        directions, rows = weights.r.values.shape[:2]
        shape = onnx.helper.make_tensor(f"{self._prefix}_shape", _INT64, [4], [0, 0, directions, rows])
        return self._node("Reshape", [made, self._store(shape)])

    def _projecting(self, w: Stored) -> str:
        """W as [I,DGH], behind a DequantizeLinear where it is INT8."""
        name = self._constant(w.values, "W")
        if w.scale is None:
            return name
        inputs = [name, self._constant(w.scale, "W_scale"), self._constant(w.scale.astype("int8") * 0, "W_zero")]
        axis: dict[str, Any] = {"axis": 1} if w.scale.ndim else {}
        return self._node("DequantizeLinear", inputs, **axis)

    def _recurrent(self, item: RecurrentNode, weights: Weights) -> tuple[str, str]:
        """The names of r and of its scales, the latter empty but for INT8."""
        r = weights.r
        if self._half:
            narrow = in_half(r)
            if narrow is None:
                self.notes.append(f"R of {item.path + item.node.name!r} stays in FP32: FP16 is too small for it")
            r = narrow or r
        return self._constant(r.values, "R"), "" if r.scale is None else self._constant(r.scale, "R_scale")

    def _state(self, item: RecurrentNode, name: str) -> str:
        """An initial state as [D,N,H] in FP32."""
        if not name:
            return ""
        if item.dtype != _FLOAT:
            name = self._node("Cast", [name], to=_FLOAT)
        return self._node("Transpose", [name], perm=[1, 0, 2]) if _batch_first(item) else name

    def _operator(self, item: RecurrentNode, operator: Operator, inputs: list[str]) -> None:
        """Edgekit's node, and behind it what its outputs need to be those of ONNX's."""
        wanted = [*item.node.output, "", "", ""][: len(operator.outputs)]
        direct = item.dtype == _FLOAT and not _batch_first(item)
        prefix = self._prefix
        outputs = [
            name if direct and name else self._names(f"{prefix}_{called}")
            for name, called in zip(wanted, operator.outputs, strict=True)
        ]
        node = onnx.helper.make_node(operator.name, inputs, outputs, item.node.name, domain=DOMAIN, **_fields(item))
        self._nodes.append(node)
        if not direct:
            for at, (name, made) in enumerate(zip(wanted, outputs, strict=True)):
                if name:
                    self._as_onnx(item, made, name, [2, 0, 1, 3] if at == 0 else [1, 0, 2])

    def _as_onnx(self, item: RecurrentNode, made: str, name: str, perm: list[int]) -> None:
        """y or a last state in the node's type and order of axes."""
        turned = _batch_first(item)
        if item.dtype != _FLOAT:
            made = self._node("Cast", [made], "" if turned else name, to=item.dtype)
        if turned:
            self._node("Transpose", [made], name, perm=perm)

    def _node(self, op: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        name = self._names(f"{self._prefix}_{op}")
        self._nodes.append(onnx.helper.make_node(op, inputs, [output or name], name, **attributes))
        return output or name

    def _constant(self, values: Array, called: str) -> str:
        return self._store(onnx.numpy_helper.from_array(values, f"{self._prefix}_{called}"))

    def _absent(self, name: str) -> str:
        """A constant of no elements."""
        kind, called = (_INT32, "lengths") if name == "lengths" else (_FLOAT, "numbers")
        return self._store(onnx.helper.make_tensor(f"{DOMAIN}_no_{called}", kind, [0], []))

    def _store(self, tensor: onnx.TensorProto) -> str:
        content = sha256(onnx.numpy_helper.to_array(tensor).tobytes()).digest()
        key = tensor.data_type, tuple(tensor.dims), content
        if key not in self._stored:
            tensor.name = self._stored[key] = self._names(tensor.name)
            self._graph.initializer.append(tensor)
        return self._stored[key]


def _cast_from_half(name: str, scope: Scope) -> str:
    """The FP16 value that this one is cast from to FP32, if that is known."""
    maker = scope.made_by.get(name)
    if maker is None or maker.op_type != "Cast" or attributes_of(maker)["to"] != _FLOAT:
        return ""
    source = scope.known.get(maker.input[0])
    return maker.input[0] if source is not None and source.dtype == onnx.TensorProto.FLOAT16 else ""


def _batch_first(item: RecurrentNode) -> bool:
    return bool(attributes_of(item.node).get("layout", 0))


def _fields(item: RecurrentNode) -> dict[str, Any]:
    """The attributes of edgekit's node, in the types that the parser takes for the plugin's fields."""
    attributes = attributes_of(item.node)
    activations = attributes.get("activations") or [b"Tanh"]
    values = {
        "hidden_size": item.hidden,
        "direction": attributes.get("direction", b"forward").decode(),
        "clip": attributes.get("clip", 0.0),
        "linear_before_reset": attributes.get("linear_before_reset", 0),
        "activation": activations[0].decode().lower(),
    }
    wanted = OPERATORS[f"Edgekit{item.node.op_type}"].attributes
    fields = {name: float(values[name]) if kind == FLOAT else values[name] for name, kind in wanted.items()}
    return {**fields, "plugin_version": PLUGIN_VERSION, "plugin_namespace": NAMESPACE}
