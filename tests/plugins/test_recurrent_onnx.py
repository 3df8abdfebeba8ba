"""ONNX's own LSTM, GRU and RNN: the stored cases, and nodes of random weights, through definition and kernels.

The stored weights are all alike (0.1): who swaps the gates o and f still passes all of them. Nodes of random weights
are judged by onnx's reference, which knows no lengths, clip and Relu, and by onnxruntime, which knows no layout 1.
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
from tests.plugins.formulas import computed  # noqa: E402
from tests.plugins.node_cases import ACTIVATIONS, INPUTS, emulated, op_of_node, outputs_of_node  # noqa: E402

COMPUTED = [
    f"test_{operator}_{name}"
    for operator, names in {
        "lstm": ("batchwise", "bidirectional", "defaults", "reverse", "with_initial_bias"),
        "gru": ("batchwise", "bidirectional", "defaults", "reverse", "seq_length", "with_initial_bias"),
        "simple_rnn": ("batchwise", "bidirectional", "defaults", "reverse", "with_initial_bias"),
        "rnn": ("seq_length",),
    }.items()
    for name in names
]
REFUSED = {"test_lstm_with_peepholes": "expected an LSTM without peepholes, found the input P"}
DEVICES = {"orin": (87, 16), "turing": (75, 40)}
# The operator of a node, and what makes it this one.
NODES: dict[str, tuple[str, dict[str, Any]]] = {
    "LSTM": ("LSTM", {}),
    "GRU": ("GRU", {"linear_before_reset": 1}),
    "GRU, reset first": ("GRU", {}),
    "RNN, tanh": ("RNN", {}),
    "RNN, relu": ("RNN", {"activations": ["Relu"]}),
}
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
INPUTS_OF = {"LSTM": 7, "GRU": 6, "RNN": 6}  # without peepholes
STEPS, BATCH, INPUT = 7, 5, 3
# In FP32 a kernel has one form up to 64 units, and another one beyond.
FEW, MANY = 6, 80

every_node = pytest.mark.parametrize("kind", NODES)
every_direction = pytest.mark.parametrize("direction", reference.DIRECTIONS)


@pytest.fixture(params=["definition", *DEVICES])
def run(request) -> Iterator[Any]:
    """An operator -> its outputs: in NumPy, and by the kernel with FP32 weights on two devices."""
    if request.param == "definition":
        yield lambda op: computed(reference, op)
        return
    with emulated(request.getfixturevalue("emulator"), *DEVICES[request.param]) as emulator:
        yield lambda op: computed(emulator, op)


def stored(name: str) -> tuple[Any, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The one node of a stored case, the arrays that go in, and those that come out, by name."""
    case = stored_cases()[name]
    graph, ((inputs, outputs),) = case.model.graph, case.data_sets
    given = {item.name: value for item, value in zip(graph.input, inputs, strict=True)}
    return graph.node[0], given, {item.name: value for item, value in zip(graph.output, outputs, strict=True)}


def close(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], atol: float = 1e-6) -> None:
    """FP32 on both sides, and in onnxruntime a sigmoid that is an approximation. A Relu's states may be large."""
    for name, value in wanted.items():
        assert found[name].shape == value.shape
        np.testing.assert_allclose(found[name], value, rtol=0, atol=atol * max(1.0, np.abs(value).max()))


def test_these_are_all_the_cases_that_onnx_stores():
    names = [name for name, case in stored_cases().items() if any(n.op_type in GATES for n in case.model.graph.node)]
    assert sorted(names) == sorted((*COMPUTED, *REFUSED))
    assert (len(COMPUTED), len(REFUSED)) == (17, 1)


@pytest.mark.parametrize("name", COMPUTED)
def test_stored_outputs(run, name):
    node, given, wanted = stored(name)
    close(outputs_of_node(node, run(op_of_node(node, given))), wanted)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    node, given, _ = stored(name)
    with pytest.raises(EdgekitError) as refusal:
        op_of_node(node, given)
    assert str(refusal.value) == REFUSED[name]


SAME = "expected the same activations in each direction,"


@pytest.mark.parametrize(
    ("kind", "attributes", "reason"),
    [
        ("LSTM", {"input_forget": 1}, "expected an LSTM with input_forget 0, found 1"),
        (
            "LSTM",
            {"activations": ["HardSigmoid", "Tanh", "Tanh"]},
            f"{SAME} Sigmoid, Tanh, Tanh, found HardSigmoid, Tanh, Tanh",
        ),
        (
            "LSTM",
            {"activations": ["Sigmoid", "Tanh", "Tanh", "Sigmoid", "Relu", "Tanh"]},
            f"{SAME} Sigmoid, Tanh, Tanh, found Sigmoid, Tanh, Tanh, Sigmoid, Relu, Tanh",
        ),
        (
            "GRU",
            {"activations": ["Sigmoid", "Tanh", "HardSigmoid", "Tanh"]},
            f"{SAME} Sigmoid, Tanh, found Sigmoid, Tanh, HardSigmoid, Tanh",
        ),
        ("GRU", {"activations": ["Sigmoid", "Relu"] * 2}, f"{SAME} Sigmoid, Tanh, found Sigmoid, Relu, Sigmoid, Relu"),
        ("RNN, tanh", {"activations": ["Relu", "Tanh"]}, f"{SAME} Tanh or Relu, found Relu, Tanh"),
        ("RNN, tanh", {"activations": ["Affine"] * 2}, f"{SAME} Tanh or Relu, found Affine, Affine"),
        (
            "RNN, tanh",
            {"activation_alpha": [0.5, 0.5]},
            "expected activations without parameters, found activation_alpha [0.5, 0.5]",
        ),
        ("GRU", {"activation_beta": [0.5]}, "expected activations without parameters, found activation_beta [0.5]"),
    ],
)
def test_other_nodes_are_refused(kind, attributes, reason):
    node, given = random_node(kind, "bidirectional", 0)
    node.attribute.extend(onnx.helper.make_attribute(*item) for item in attributes.items())
    with pytest.raises(EdgekitError) as refusal:
        op_of_node(node, given)
    assert str(refusal.value) == reason


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN, tanh"])
def test_a_node_may_name_the_activations_that_it_has_anyway(kind):
    for named in ACTIVATIONS[NODES[kind][0]]:
        node, given = random_node(kind, "bidirectional", 0)
        node.attribute.append(onnx.helper.make_attribute("activations", named * 2))
        assert getattr(op_of_node(node, given), "activation", "tanh") == named[-1].lower()


def random_node(
    kind: str, direction: str, seed: int, hidden: int = FEW, **attributes: Any
) -> tuple[Any, dict[str, np.ndarray]]:
    """A node with every input but P, and its arrays: weights of about 1, so that gates are neither 0 nor 1/2."""
    operator, own = NODES[kind]
    random = np.random.default_rng(seed)
    directions, rows = 2 if direction == "bidirectional" else 1, GATES[operator] * hidden

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    arrays = {
        "X": normal(STEPS, BATCH, INPUT),
        "W": normal(directions, rows, INPUT),
        "R": normal(directions, rows, hidden) / np.float32(np.sqrt(hidden)),
        "B": normal(directions, 2 * rows),
        "sequence_lens": np.array([STEPS, 1, 3, 0, 6], np.int32),
        "initial_h": normal(directions, BATCH, hidden),
        "initial_c": normal(directions, BATCH, hidden),
    }
    if "activations" in own:
        own = {"activations": own["activations"] * directions}
    count = INPUTS_OF[operator]
    node = onnx.helper.make_node(
        operator, list(INPUTS[:count]), ["Y", "Y_h", "Y_c"][: count - 4], hidden_size=hidden, direction=direction,
        **own, **attributes,
    )  # fmt: skip
    return node, {name: arrays[name] for name in node.input}


def model_of(node: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A graph of one node, of which all inputs are inputs."""
    info = onnx.helper.make_tensor_value_info
    kinds = {np.dtype(np.float32): onnx.TensorProto.FLOAT, np.dtype(np.int32): onnx.TensorProto.INT32}
    inputs = [info(name, kinds[arrays[name].dtype], arrays[name].shape) for name in node.input if name]
    outputs = [info(name, onnx.TensorProto.FLOAT, None) for name in node.output]
    graph = onnx.helper.make_graph([node], "recurrent", inputs, outputs)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


def by_onnxruntime(node: Any, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    model = model_of(node, arrays).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = {name: arrays[name] for name in node.input if name}
    return dict(zip(node.output, session.run(list(node.output), feeds), strict=True))


def batch_first(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs of a node of layout 1."""
    turned = {"X", "initial_h", "initial_c"} & set(arrays)
    return arrays | {name: arrays[name].swapaxes(0, 1) for name in turned}


@pytest.mark.parametrize("layout", [0, 1])
@every_direction
@pytest.mark.parametrize("kind", [kind for kind in NODES if kind != "RNN, relu"])
def test_onnxs_own_reference_agrees(run, kind, direction, layout):
    """Gates, biases, the states and the order of the axes, all rows of full length."""
    node, arrays = random_node(kind, direction, 1, layout=layout)
    node.input[INPUTS.index("sequence_lens")] = ""
    if layout:
        arrays = batch_first(arrays)
    given = {name: arrays[name] for name in node.input if name}
    wanted = ReferenceEvaluator(model_of(node, arrays)).run(None, given)
    close(outputs_of_node(node, run(op_of_node(node, arrays))), dict(zip(node.output, wanted, strict=True)), 3e-6)


@every_node
def test_layout_1_is_layout_0_with_the_batch_in_front(run, kind):
    """With lengths, which stay as they are."""
    node, arrays = random_node(kind, "bidirectional", 4)
    arrays["sequence_lens"] = np.maximum(arrays["sequence_lens"], 1)
    y, *states = by_onnxruntime(node, arrays).values()
    node, _ = random_node(kind, "bidirectional", 4, layout=1)
    found = outputs_of_node(node, run(op_of_node(node, batch_first(arrays))))
    turned = (y.transpose(2, 0, 1, 3), *(state.swapaxes(0, 1) for state in states))
    close(found, dict(zip(node.output, turned, strict=True)), 3e-6)


def may_be_absent(kind: str) -> list[tuple[str, ...]]:
    """None of a node's inputs, each that it may leave out, and all of them."""
    optional = INPUTS[3 : INPUTS_OF[NODES[kind][0]]]
    return [(), *((name,) for name in optional), optional]


@pytest.mark.parametrize(("kind", "absent"), [(kind, absent) for kind in NODES for absent in may_be_absent(kind)])
@every_direction
@pytest.mark.parametrize("hidden", [FEW, MANY])
def test_onnxruntime_agrees(run, kind, hidden, direction, absent):
    """With lengths, 0 and 1 among them, and without each of the inputs that a node may leave out.

    Of a row of length 0 onnxruntime says that its last state is 0, whatever came in; edgekit hands on what came in.
    """
    node, arrays = random_node(kind, direction, 2, hidden)
    for name in absent:
        node.input[INPUTS.index(name)] = ""
    found = outputs_of_node(node, run(op_of_node(node, arrays)))
    wanted = by_onnxruntime(node, arrays)
    empty = 3 if "sequence_lens" in node.input else BATCH
    for name, first in (("Y_h", "initial_h"), ("Y_c", "initial_c")):
        if empty < BATCH and first in node.input:
            np.testing.assert_array_equal(found[name][:, empty], arrays[first][:, empty])
            wanted[name][:, empty] = arrays[first][:, empty]
    close(found, wanted, 3e-6)


@pytest.mark.parametrize("clip", [1.5, 2.0])
@every_direction
@every_node
def test_clip_is_onnxruntimes(run, kind, clip, direction):
    """Of what goes into each activation. onnxruntime does not clip an LSTM's c before its tanh, which ONNX has and
    TensorRT's importer does: so c is kept below the clip here, by gates f that are nearly closed."""
    node, arrays = random_node(kind, direction, 3, clip=clip)
    arrays["X"] *= 4
    hidden = arrays["R"].shape[2]
    if kind == "LSTM":
        arrays["initial_c"] *= 0.1
        arrays["B"][:, 2 * hidden : 3 * hidden] -= 50
    arrays["sequence_lens"] = np.maximum(arrays["sequence_lens"], 1)
    found, op = by_onnxruntime(node, arrays), op_of_node(node, arrays)
    close(outputs_of_node(node, run(op)), found, 3e-6)
    assert np.abs(found["Y"] - computed(reference, replace(op, clip=0.0))[0]).max() > 0.01


def test_outputs_that_a_node_leaves_out_are_not_made():
    """Most of the stored nodes name a last state alone."""
    for name in ("test_lstm_defaults", "test_gru_defaults", "test_simple_rnn_defaults"):
        node, given, wanted = stored(name)
        found = outputs_of_node(node, computed(reference, op_of_node(node, given)))
        assert set(found) == set(wanted) == {"Y_h"}
