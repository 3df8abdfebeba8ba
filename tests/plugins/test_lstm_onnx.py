"""ONNX's own LSTM: its six stored cases, and nodes of random weights, through the definition and through the kernel.

The stored weights are all alike (0.1): who swaps the gates o and f still passes all of them. Nodes of random weights
are judged by onnx's reference, which knows no lengths and no clip, and by onnxruntime, which knows no layout 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import onnxruntime  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from edgekit import reference  # noqa: E402
from edgekit.errors import EdgekitError  # noqa: E402
from tests.onnx_cases import stored_cases  # noqa: E402
from tests.plugins.lstm_cases import INPUTS, emulated, lstm_of_node, outputs_of_node  # noqa: E402

COMPUTED = ("batchwise", "bidirectional", "defaults", "reverse", "with_initial_bias")
REFUSED = {"with_peepholes": "expected an LSTM without peepholes, found the input P"}
DEVICES = {"orin": (87, 16), "turing": (75, 40)}
STEPS, BATCH, INPUT = 7, 5, 3
# In FP32 the kernel has one form up to 64 units, and another one beyond.
FEW, MANY = 6, 80


@pytest.fixture(params=["definition", *DEVICES])
def run(request) -> Iterator[Any]:
    """reference.LSTM -> its outputs: in NumPy, and by the kernel with FP32 weights on two devices."""
    if request.param == "definition":
        yield reference.lstm
        return
    with emulated(request.getfixturevalue("emulator"), *DEVICES[request.param]) as emulator:
        yield emulator.lstm


def stored(name: str) -> tuple[Any, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The one node of a stored case, the arrays that go in, and those that come out, by name."""
    case = stored_cases()[f"test_lstm_{name}"]
    graph, ((inputs, outputs),) = case.model.graph, case.data_sets
    given = {item.name: value for item, value in zip(graph.input, inputs, strict=True)}
    return graph.node[0], given, {item.name: value for item, value in zip(graph.output, outputs, strict=True)}


def close(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], atol: float = 1e-6) -> None:
    """FP32 on both sides, and in onnxruntime a sigmoid that is an approximation."""
    for name, value in wanted.items():
        assert found[name].shape == value.shape
        np.testing.assert_allclose(found[name], value, rtol=0, atol=atol)


def test_these_are_all_the_cases_that_onnx_stores():
    names = [name for name, case in stored_cases().items() if any(n.op_type == "LSTM" for n in case.model.graph.node)]
    assert sorted(names) == sorted(f"test_lstm_{name}" for name in (*COMPUTED, *REFUSED))
    assert len(names) == 6


@pytest.mark.parametrize("name", COMPUTED)
def test_stored_outputs(run, name):
    node, given, wanted = stored(name)
    close(outputs_of_node(node, run(lstm_of_node(node, given))), wanted)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    node, given, _ = stored(name)
    with pytest.raises(EdgekitError) as refusal:
        lstm_of_node(node, given)
    assert str(refusal.value) == REFUSED[name]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"input_forget": 1}, "expected an LSTM with input_forget 0, found 1"),
        (
            {"activations": ["HardSigmoid", "Tanh", "Tanh"]},
            "expected the activations Sigmoid, Tanh, Tanh, found HardSigmoid, Tanh, Tanh",
        ),
        (
            {"activations": ["Sigmoid", "Tanh", "Tanh", "Sigmoid", "Relu", "Tanh"]},
            "expected the activations Sigmoid, Tanh, Tanh, found Sigmoid, Tanh, Tanh, Sigmoid, Relu, Tanh",
        ),
    ],
)
def test_other_nodes_are_refused(attributes, reason):
    _, given, _ = stored("bidirectional")
    node = onnx.helper.make_node("LSTM", list(given), ["Y"], hidden_size=3, direction="bidirectional", **attributes)
    with pytest.raises(EdgekitError) as refusal:
        lstm_of_node(node, given)
    assert str(refusal.value) == reason
    fine = onnx.helper.make_node(
        "LSTM", list(given), ["Y"], activations=["Sigmoid", "Tanh", "Tanh"] * 2, input_forget=0
    )
    assert lstm_of_node(fine, given).clip == 0


def random_node(direction: str, seed: int, hidden: int = FEW, **attributes: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """An LSTM node with every input but P, and its arrays: weights of about 1, so that gates are neither 0 nor 1/2."""
    random = np.random.default_rng(seed)
    directions = 2 if direction == "bidirectional" else 1

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    arrays = {
        "X": normal(STEPS, BATCH, INPUT),
        "W": normal(directions, 4 * hidden, INPUT),
        "R": normal(directions, 4 * hidden, hidden) / np.float32(np.sqrt(hidden)),
        "B": normal(directions, 8 * hidden),
        "sequence_lens": np.array([STEPS, 1, 3, 0, 6], np.int32),
        "initial_h": normal(directions, BATCH, hidden),
        "initial_c": normal(directions, BATCH, hidden),
    }
    node = onnx.helper.make_node(
        "LSTM", list(INPUTS[:-1]), ["Y", "Y_h", "Y_c"], hidden_size=hidden, direction=direction, **attributes
    )
    return node, arrays


def model_of(node: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A graph of one node, of which all inputs are inputs."""
    info = onnx.helper.make_tensor_value_info
    kinds = {np.dtype(np.float32): onnx.TensorProto.FLOAT, np.dtype(np.int32): onnx.TensorProto.INT32}
    inputs = [info(name, kinds[arrays[name].dtype], arrays[name].shape) for name in node.input if name]
    outputs = [info(name, onnx.TensorProto.FLOAT, None) for name in node.output]
    graph = onnx.helper.make_graph([node], "lstm", inputs, outputs)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


def by_onnxruntime(node: Any, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    model = model_of(node, arrays).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = {name: arrays[name] for name in node.input if name}
    return dict(zip(node.output, session.run(list(node.output), feeds), strict=True))


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("direction", reference.DIRECTIONS)
def test_onnxs_own_reference_agrees(run, direction, layout):
    """Gates, biases, both states and the order of the axes, all rows of full length."""
    node, arrays = random_node(direction, 1, layout=layout)
    node.input[4] = ""
    if layout:
        arrays |= {name: arrays[name].swapaxes(0, 1) for name in ("X", "initial_h", "initial_c")}
    given = {name: arrays[name] for name in node.input if name}
    wanted = ReferenceEvaluator(model_of(node, arrays)).run(None, given)
    close(outputs_of_node(node, run(lstm_of_node(node, arrays))), dict(zip(node.output, wanted, strict=True)), 3e-6)


@pytest.mark.parametrize("absent", [(), ("B",), ("sequence_lens",), ("initial_h",), ("initial_c",), INPUTS[3:7]])
@pytest.mark.parametrize("direction", reference.DIRECTIONS)
@pytest.mark.parametrize("hidden", [FEW, MANY])
def test_onnxruntime_agrees(run, hidden, direction, absent):
    """With lengths, 0 and 1 among them, and without each of the inputs that a node may leave out.

    Of a row of length 0 onnxruntime says that its last state is 0, whatever came in; edgekit hands on what came in.
    """
    node, arrays = random_node(direction, 2, hidden)
    for place in (INPUTS.index(name) for name in absent):
        node.input[place] = ""
    found = outputs_of_node(node, run(lstm_of_node(node, arrays)))
    wanted = by_onnxruntime(node, arrays)
    empty = 3 if "sequence_lens" in node.input else BATCH
    for name, first in (("Y_h", "initial_h"), ("Y_c", "initial_c")):
        if empty < BATCH and first in node.input:
            np.testing.assert_array_equal(found[name][:, empty], arrays[first][:, empty])
            wanted[name][:, empty] = arrays[first][:, empty]
    close(found, wanted, 3e-6)


@pytest.mark.parametrize("clip", [1.5, 2.0])
@pytest.mark.parametrize("direction", reference.DIRECTIONS)
def test_clip_is_onnxruntimes(run, clip, direction):
    """Of the gates. onnxruntime does not clip c before its tanh, which ONNX has and TensorRT's importer does: so c is
    kept below the clip here, by gates f that are nearly closed."""
    node, arrays = random_node(direction, 3, clip=clip)
    arrays["initial_c"] *= 0.1
    arrays["X"] *= 4
    hidden = arrays["R"].shape[2]
    arrays["B"][:, 2 * hidden : 3 * hidden] -= 50
    arrays["sequence_lens"] = np.maximum(arrays["sequence_lens"], 1)
    found, op = by_onnxruntime(node, arrays), lstm_of_node(node, arrays)
    close(outputs_of_node(node, run(op)), found, 3e-6)
    assert np.abs(found["Y"] - reference.lstm(replace(op, clip=0.0)).y).max() > 0.01


def test_outputs_that_a_node_leaves_out_are_not_made():
    """Most of the stored nodes name a last state alone."""
    node, given, wanted = stored("defaults")
    assert set(outputs_of_node(node, reference.lstm(lstm_of_node(node, given)))) == set(wanted) == {"Y_h"}
