"""From an LSTM, GRU or RNN node of an ONNX graph to edgekit's operator and back.

Also a network whose recurrences someone else computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx.utils import Extractor

from edgekit.errors import EdgekitError
from edgekit.plugins.emulator import Emulator
from edgekit.reference import GRU, LSTM, RNN, Recurrent, input_projection

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
# A Recurrent -> y and the last states, as reference.lstm, gru and rnn return them.
Recurrence = Callable[[Any], tuple[Array, ...]]

# Of the LSTM operator; GRU and RNN have the first six.
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
# What edgekit's operators compute, for one direction; the first is what ONNX takes where a node says nothing.
ACTIVATIONS = {"LSTM": [["Sigmoid", "Tanh", "Tanh"]], "GRU": [["Sigmoid", "Tanh"]], "RNN": [["Tanh"], ["Relu"]]}


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def inputs_of(node: onnx.NodeProto) -> dict[str, str]:
    """The values that a node takes, by what its operator calls them; absent ones are left out."""
    return {name: value for name, value in zip(INPUTS, node.input, strict=False) if value}


def op_of_node(node: onnx.NodeProto, values: Arrays) -> Recurrent:
    """An ONNX LSTM, GRU or RNN node, with the arrays that its inputs name, as edgekit's; `r` is as the node has it.

    Raises EdgekitError, one line, for what edgekit's do not compute: peepholes, input_forget, other activations.
    """
    given = {name: values[value] for name, value in inputs_of(node).items()}
    attributes = attributes_of(node)
    direction = attributes.get("direction", b"forward").decode()
    activations = activations_of(node.op_type, attributes, 2 if direction == "bidirectional" else 1)
    if "P" in given:
        raise EdgekitError("expected an LSTM without peepholes, found the input P")
    x, h0, c0 = given["X"], given.get("initial_h"), given.get("initial_c")
    if attributes.get("layout", 0):  # N comes first
        x = x.swapaxes(0, 1)
        h0, c0 = (None if state is None else state.swapaxes(0, 1) for state in (h0, c0))
    bias, hidden = given.get("B"), given["R"].shape[2]
    xproj = input_projection(x, given["W"], bias, apart=hidden if node.op_type == "GRU" else 0)
    common: dict[str, Any] = {
        "xproj": xproj, "r": given["R"], "lengths": given.get("sequence_lens"), "h0": h0, "direction": direction,
        "clip": float(attributes.get("clip", 0)),
    }  # fmt: skip
    if node.op_type == "LSTM":
        return LSTM(**common, c0=c0)
    if node.op_type == "RNN":
        return RNN(**common, activation=activations[0].lower())
    reset_last = bool(attributes.get("linear_before_reset", 0))
    return GRU(**common, rb_h=None if bias is None else bias[:, -hidden:], linear_before_reset=reset_last)


def activations_of(kind: str, attributes: Mapping[str, Any], directions: int) -> list[str]:
    """The activations of one direction. Raises EdgekitError where edgekit's operator has others, or input_forget."""
    if attributes.get("input_forget", 0):
        raise EdgekitError("expected an LSTM with input_forget 0, found 1")
    for name in ("activation_alpha", "activation_beta"):
        if attributes.get(name):
            raise EdgekitError(f"expected activations without parameters, found {name} {list(attributes[name])}")
    found = [name.decode() for name in attributes.get("activations", ())]
    for wanted in ACTIVATIONS[kind]:
        if found in ([], directions * wanted):
            return wanted
    wanted_names = " or ".join(", ".join(one) for one in ACTIVATIONS[kind])
    raise EdgekitError(f"expected the same activations in each direction, {wanted_names}, found {', '.join(found)}")


def outputs_of_node(node: onnx.NodeProto, outputs: tuple[Array, ...]) -> dict[str, Array]:
    """What edgekit's operator returned as the outputs that the node has, by their names."""
    y, *states = outputs
    if attributes_of(node).get("layout", 0):
        y, states = y.transpose(2, 0, 1, 3), [state.swapaxes(0, 1) for state in states]
    return {name: value for name, value in zip(node.output, (y, *states), strict=False) if name}


def with_half_weights(op: Recurrent) -> Any:
    """Its recurrent weights in FP16."""
    return replace(op, r=op.r.astype(np.float16))


def with_int8_weights(op: Recurrent) -> Any:
    """Its recurrent weights in INT8, one symmetric scale a gate row."""
    r, scale = int8_rows(op.r)
    return replace(op, r=r, r_scale=scale)


def int8_rows(weights: Array) -> tuple[Array, Array]:
    """weights [D,GH,K] -> INT8 of the same shape, and scales [D,GH] FP32: the largest of a row becomes 127."""
    scale = (np.abs(weights).max(-1) / 127).astype(np.float32)
    return np.rint(weights / np.where(scale > 0, scale, 1)[..., None]).astype(np.int8), scale


def sqnr_db(wanted: Array, found: Array) -> float:
    """The signal over the error, in dB."""
    error = np.square(found.astype(np.float64) - wanted).sum()
    return float(10 * np.log10(np.square(wanted.astype(np.float64)).sum() / error))


@contextmanager
def emulated(
    emulator: Emulator, sm: int = 87, multiprocessors: int = 16, schedule: str = "forward", seed: int = 0
) -> Iterator[Emulator]:
    """Another device, or another order of threads; afterwards the AGX Orin again, threads in their order."""
    emulator.choose(sm, multiprocessors)
    emulator.schedule(schedule, seed)
    try:
        yield emulator
    finally:
        emulator.choose(87, 16)
        emulator.schedule("forward")


@dataclass(frozen=True)
class Part:
    """What stands before a recurrence, or after the last one (`node` is None), as a network of its own, if anything."""

    session: onnxruntime.InferenceSession | None
    node: onnx.NodeProto | None

    def run(self, values: Arrays) -> dict[str, Array]:
        if self.session is None:
            return {}
        feeds = {item.name: values[item.name] for item in self.session.get_inputs()}
        names = [item.name for item in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, feeds), strict=True))


class CutNetwork:
    """A network cut at its LSTMs, GRUs and RNNs: onnxruntime computes what is between them, and anyone the recurrences.

    Their weights are constants of the graph, in FP32, or in INT8 with a scale a gate row as `quantize` writes them
    (DequantizeLinear, axis 2, one block a row): then R stays INT8.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._int8: dict[str, tuple[Array, Array]] = {}
        for node in model.graph.node:
            if node.op_type == "DequantizeLinear" and attributes_of(node).get("axis") == 2:
                weights, scale = (self._constants[name] for name in node.input[:2])
                self._int8[node.output[0]] = weights, scale[..., 0]
                self._constants[node.output[0]] = weights * scale
        self._extractor = Extractor(onnx.shape_inference.infer_shapes(model))
        self._known = [item.name for item in model.graph.input]
        self._outputs = [item.name for item in model.graph.output]
        self._parts = []
        for node in model.graph.node:
            if node.op_type in ACTIVATIONS:
                given = [name for name in inputs_of(node).values() if name not in self._constants]
                self._parts.append(self._part(given, node))
                self._known += [name for name in node.output if name]
        self._parts.append(self._part(self._outputs, None))

    def _part(self, wanted: list[str], node: onnx.NodeProto | None) -> Part:
        """The network that makes `wanted` of what is known so far."""
        wanted = [name for name in wanted if name not in self._known]
        if not wanted:
            return Part(None, node)
        made = self._extractor.extract_model(self._known, wanted)
        used = {name for inner in made.graph.node for name in inner.input}
        needed = [item for item in made.graph.input if item.name in used]
        del made.graph.input[:]
        made.graph.input.extend(needed)
        session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        return Part(session, node)

    def run(self, feeds: Arrays, recurrence: Recurrence) -> dict[str, Array]:
        """The network's outputs; `recurrence` is called for each LSTM, GRU or RNN in turn."""
        values: dict[str, Array] = {**self._constants, **feeds}
        for part in self._parts:
            values |= part.run(values)
            if part.node is not None:
                found = outputs_of_node(part.node, recurrence(self._op(part.node, values)))
                values |= {name: value.astype(np.float32) for name, value in found.items()}
        return {name: values[name] for name in self._outputs}

    def _op(self, node: onnx.NodeProto, values: Arrays) -> Recurrent:
        op = op_of_node(node, values)
        if node.input[2] not in self._int8:
            return op
        r, scale = self._int8[node.input[2]]
        return replace(op, r=r, r_scale=scale)
