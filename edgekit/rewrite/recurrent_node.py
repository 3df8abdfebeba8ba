"""What an LSTM, GRU or RNN node says of itself, and whether edgekit's operators compute it.

Source: ONNX operator specification, LSTM-22, GRU-22, RNN-22. Shapes: T steps, N batch, I input, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from edgekit.rewrite.names import ONNX_DOMAINS, named_subgraphs
from edgekit.rewrite.shapes_at import Known

KINDS = ("LSTM", "GRU", "RNN")
# What edgekit's operators compute, for one direction; the first is what ONNX takes where a node says nothing.
ACTIVATIONS = {"LSTM": [["Sigmoid", "Tanh", "Tanh"]], "GRU": [["Sigmoid", "Tanh"]], "RNN": [["Tanh"], ["Relu"]]}
_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")


@dataclass(frozen=True)
class RecurrentNode:
    """One node; `path` names the subgraphs that it stands in, such as `If.then_branch`, and is empty in the main graph.

    `dtype` is ONNX's number of X's type, `steps`, `batch` and `hidden` are 0 where they are not known. `int8` says
    whether R comes out of a DequantizeLinear, `uncovered` why edgekit's operator does not compute it, if so.
    """

    node: onnx.NodeProto
    path: str
    dtype: int
    steps: int
    batch: int
    hidden: int
    int8: bool
    int8_per_axis: bool
    uncovered: str

    @property
    def directions(self) -> int:
        """Two for a bidirectional node."""
        return 2 if attributes_of(self.node).get("direction", b"") == b"bidirectional" else 1

    @property
    def has_lengths(self) -> bool:
        """Whether rows of a batch end at lengths of their own."""
        return "sequence_lens" in inputs_of(self.node)

    @property
    def linear_before_reset(self) -> bool:
        """A GRU as torch has it."""
        return bool(attributes_of(self.node).get("linear_before_reset", 0))


@dataclass(frozen=True)
class Scope:
    """A graph with all that its nodes can name: what the graphs around it hold, and what it holds itself.

    `path` ends in a slash, and is empty for the main graph; `made_by` has the node that makes a value.
    """

    graph: onnx.GraphProto
    path: str
    known: Mapping[str, Known]
    initializers: Mapping[str, onnx.TensorProto]
    made_by: Mapping[str, onnx.NodeProto]
    opset_import: tuple[onnx.OperatorSetIdProto, ...]

    def nodes(self) -> Iterator[tuple[int, RecurrentNode]]:
        """The recurrent nodes of this graph, without those of graphs inside it, and where in it they stand."""
        for at, node in enumerate(self.graph.node):
            if node.op_type in KINDS and node.domain in ONNX_DOMAINS:
                yield at, _read(node, self.path, self.known, self.made_by)


def recurrent_nodes(model: onnx.ModelProto, known: Mapping[str, Known]) -> tuple[RecurrentNode, ...]:
    """All of them, those inside of If, Loop and Scan too; `known` is what `shapes_at` knows of the main graph."""
    return tuple(item for scope in scopes_of(model, known) for _, item in scope.nodes())


def scopes_of(model: onnx.ModelProto, known: Mapping[str, Known]) -> Iterator[Scope]:
    """The main graph and all inside it (If, Loop, Scan), however deep, outer ones first."""
    return _scopes(model.graph, "", Scope(onnx.GraphProto(), "", known, {}, {}, tuple(model.opset_import)))


def _scopes(graph: onnx.GraphProto, path: str, outer: Scope) -> Iterator[Scope]:
    stored = {tensor.name: tensor for tensor in graph.initializer}
    scope = Scope(
        graph,
        path,
        {**outer.known, **{name: Known(tensor.data_type, tuple(tensor.dims)) for name, tensor in stored.items()}},
        {**outer.initializers, **stored},
        {**outer.made_by, **{name: node for node in graph.node for name in node.output}},
        outer.opset_import,
    )
    yield scope
    for node in graph.node:
        for where, inner in named_subgraphs(node):
            yield from _scopes(inner, path + where, scope)


def _read(
    node: onnx.NodeProto, path: str, known: Mapping[str, Known], makers: Mapping[str, onnx.NodeProto]
) -> RecurrentNode:
    named = inputs_of(node)
    x, r = known.get(named["X"]), known.get(named.get("R", ""))
    batch_first = attributes_of(node).get("layout", 0)
    first, second = x.shape[:2] if x is not None and x.shape is not None and len(x.shape) == 3 else (0, 0)
    maker = makers.get(named.get("R", ""))
    int8 = maker is not None and maker.op_type == "DequantizeLinear"
    per_axis = int8 and maker is not None and not any(item.name == "block_size" and item.i for item in maker.attribute)
    hidden = int(attributes_of(node).get("hidden_size", 0)) or (r.shape[2] if r is not None and r.shape else 0)
    return RecurrentNode(
        node=node,
        path=path,
        dtype=_first_type(x, r, known.get(named.get("W", ""))),
        steps=second if batch_first else first,
        batch=first if batch_first else second,
        hidden=hidden,
        int8=int8,
        int8_per_axis=per_axis,
        uncovered=_uncovered(node),
    )


def _first_type(*found: Known | None) -> int:
    return next((item.dtype for item in found if item is not None and item.dtype), 0)


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node by name."""
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def inputs_of(node: onnx.NodeProto) -> dict[str, str]:
    """The values that a node takes, by what its operator calls them; absent ones are left out."""
    return {name: value for name, value in zip(_INPUTS, node.input, strict=False) if value}


def _uncovered(node: onnx.NodeProto) -> str:
    """Why edgekit's operator does not compute it: peepholes, coupled gates, other activations."""
    attributes = attributes_of(node)
    if "P" in inputs_of(node):
        return "it has peepholes"
    if attributes.get("input_forget", 0):
        return "its input and forget gates are coupled"
    if any(attributes.get(name) for name in ("activation_alpha", "activation_beta")):
        return "its activations have parameters"
    directions = 2 if attributes.get("direction", b"") == b"bidirectional" else 1
    found = [name.decode() for name in attributes.get("activations", ())]
    if found and found not in [directions * wanted for wanted in ACTIVATIONS[node.op_type]]:
        return f"its activations are {', '.join(found)}"
    return ""
