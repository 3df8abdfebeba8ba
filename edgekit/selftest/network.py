"""The network of the self-test: a convolution, a product and a state that is carried, with seeded weights."""

from __future__ import annotations

import numpy as np

from edgekit.specs import TensorSpec

INPUTS = (TensorSpec("x", "float32", ("batch", 3, 16, 16)), TensorSpec("state", "float32", ("batch", 8)))
OUTPUTS = (TensorSpec("y", "float32", ("batch", 8)), TensorSpec("state_out", "float32", ("batch", 8)))
CARRIED = {"state": "state_out"}
_BATCHES = (1, 8)


def shapes() -> dict[str, tuple[str, str]]:
    """The least and the largest shape of each input, as `--shape` has them."""
    found = {}
    for spec in INPUTS:
        low, high = ("x".join(map(str, spec.at({"batch": batch}) or ())) for batch in _BATCHES)
        found[spec.name] = (low, high)
    return found


def network() -> bytes:
    """As ONNX: state_out = tanh(pool(relu(conv(x))) @ weight + state), y = state_out @ weight."""
    import onnx

    helper, random = onnx.helper, np.random.default_rng(0)
    weights = {
        "kernel": random.normal(size=(8, 3, 3, 3)) / 5,
        "weight": random.normal(size=(8, 8)) / 3,
    }
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["conv"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"], "relu"),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"], "pool"),
        helper.make_node("Flatten", ["pool"], ["flat"], "flatten"),
        helper.make_node("MatMul", ["flat", "weight"], ["seen"], "see"),
        helper.make_node("Add", ["seen", "state"], ["sum"], "add"),
        helper.make_node("Tanh", ["sum"], ["state_out"], "tanh"),
        helper.make_node("MatMul", ["state_out", "weight"], ["y"], "tell"),
    ]
    inputs, outputs = (
        [helper.make_tensor_value_info(spec.name, onnx.TensorProto.FLOAT, spec.shape) for spec in specs]
        for specs in (INPUTS, OUTPUTS)
    )
    initializers = [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "selftest", inputs, outputs, initializers)
    made: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    ).SerializeToString()
    return made
