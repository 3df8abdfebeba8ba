"""From an LSTM node of an ONNX graph to EdgekitLSTM and back, and a network whose recurrences someone else computes."""

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
from edgekit.reference import LSTM, LSTMOutputs, input_projection

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Recurrence = Callable[[LSTM], LSTMOutputs]

INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def inputs_of(node: onnx.NodeProto) -> dict[str, str]:
    """The values that a node takes, by what the LSTM operator calls them; absent ones are left out."""
    return {name: value for name, value in zip(INPUTS, node.input, strict=False) if value}


def lstm_of_node(node: onnx.NodeProto, values: Arrays) -> LSTM:
    """An ONNX LSTM node, with the arrays that its inputs name, as EdgekitLSTM; `r` is as the node has it.

    Raises EdgekitError, one line, for what EdgekitLSTM does not compute: peepholes, input_forget, other activations.
    """
    given = {name: values[value] for name, value in inputs_of(node).items()}
    attributes = attributes_of(node)
    refuse_others(attributes, given)
    x, h0, c0 = given["X"], given.get("initial_h"), given.get("initial_c")
    if attributes.get("layout", 0):  # N comes first
        x = x.swapaxes(0, 1)
        h0, c0 = (None if state is None else state.swapaxes(0, 1) for state in (h0, c0))
    xproj = input_projection(x, given["W"], given.get("B"))
    direction = attributes.get("direction", b"forward").decode()
    return LSTM(
        xproj, given["R"], None, given.get("sequence_lens"), h0, c0, direction, float(attributes.get("clip", 0))
    )


def refuse_others(attributes: Mapping[str, Any], given: Arrays) -> None:
    """Raise EdgekitError unless EdgekitLSTM is all that a node with these attributes and inputs needs."""
    if "P" in given:
        raise EdgekitError("expected an LSTM without peepholes, found the input P")
    if attributes.get("input_forget", 0):
        raise EdgekitError("expected an LSTM with input_forget 0, found 1")
    found = [name.decode() for name in attributes.get("activations", ())]
    wanted = ["Sigmoid", "Tanh", "Tanh"]
    if found not in ([], wanted, 2 * wanted):
        raise EdgekitError(f"expected the activations {', '.join(wanted)}, found {', '.join(found)}")


def outputs_of_node(node: onnx.NodeProto, outputs: LSTMOutputs) -> dict[str, Array]:
    """What EdgekitLSTM returned as the outputs that the node has, by their names."""
    y, h_n, c_n = outputs
    if attributes_of(node).get("layout", 0):
        y, h_n, c_n = y.transpose(2, 0, 1, 3), h_n.swapaxes(0, 1), c_n.swapaxes(0, 1)
    return {name: value for name, value in zip(node.output, (y, h_n, c_n), strict=False) if name}


def with_half_weights(op: LSTM) -> LSTM:
    """Its recurrent weights in FP16."""
    return replace(op, r=op.r.astype(np.float16))


def with_int8_weights(op: LSTM) -> LSTM:
    """Its recurrent weights in INT8, one symmetric scale a gate row."""
    r, scale = int8_rows(op.r)
    return replace(op, r=r, r_scale=scale)


def int8_rows(weights: Array) -> tuple[Array, Array]:
    """weights [D,4H,K] -> INT8 of the same shape, and scales [D,4H] FP32: the largest of a row becomes 127."""
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
    """What stands before an LSTM, or after the last one (`node` is None), as a network of its own."""

    session: onnxruntime.InferenceSession
    node: onnx.NodeProto | None

    def run(self, values: Arrays) -> dict[str, Array]:
        feeds = {item.name: values[item.name] for item in self.session.get_inputs()}
        names = [item.name for item in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, feeds), strict=True))


class CutNetwork:
    """A network cut at its LSTMs: onnxruntime computes what is between them, and anyone the recurrences.

    The weights of each LSTM are constants of the graph, in FP32, or in INT8 with a scale a gate row as `quantize`
    writes them (DequantizeLinear, axis 2, one block a row): then R stays INT8.
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
            if node.op_type == "LSTM":
                given = [name for name in inputs_of(node).values() if name not in self._constants]
                self._parts.append(self._part(given, node))
                self._known += [name for name in node.output if name]
        self._parts.append(self._part(self._outputs, None))

    def _part(self, wanted: list[str], node: onnx.NodeProto | None) -> Part:
        """The network that makes `wanted` of what is known so far."""
        made = self._extractor.extract_model(self._known, [name for name in wanted if name not in self._known])
        used = {name for inner in made.graph.node for name in inner.input}
        needed = [item for item in made.graph.input if item.name in used]
        del made.graph.input[:]
        made.graph.input.extend(needed)
        session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        return Part(session, node)

    def run(self, feeds: Arrays, recurrence: Recurrence) -> dict[str, Array]:
        """The network's outputs; `recurrence` is called for each LSTM in turn."""
        values: dict[str, Array] = {**self._constants, **feeds}
        for part in self._parts:
            values |= part.run(values)
            if part.node is not None:
                found = outputs_of_node(part.node, recurrence(self._op(part.node, values)))
                values |= {name: value.astype(np.float32) for name, value in found.items()}
        return {name: values[name] for name in self._outputs}

    def _op(self, node: onnx.NodeProto, values: Arrays) -> LSTM:
        op = lstm_of_node(node, values)
        if node.input[2] not in self._int8:
            return op
        r, scale = self._int8[node.input[2]]
        return replace(op, r=r, r_scale=scale)
