"""A network that read digits well until one channel in it grew: the same answers, and no room for the rest in INT8.

A hidden value and its column of weights are multiplied by a factor, and its row in the next layer is divided by it. In
exact numbers nothing changes; with one scale an activation all other values fall on a few levels.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

TRAINED_ON, LAYERS = 1000, ("layer0", "layer1", "layer2", "layer3")
_HIDDEN = (32, 24, 16)


def make(folder: Path) -> None:
    """image [batch,64] -> logits [batch,10] by four Gemms: `plain.onnx`; `hostile.onnx`, where layer2 reads a channel
    200 times too large; `worst.onnx`, where each layer but the first reads one 2000 times too large; `large.onnx`,
    where layer2 reads values beyond FP16. `x.npz` has 797 digits that none was trained on, `y.npy` what they are."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn's digits are the data")
    from sklearn.neural_network import MLPClassifier

    images, labels = datasets.load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        trained = MLPClassifier(_HIDDEN, max_iter=100, random_state=0).fit(images[:TRAINED_ON], labels[:TRAINED_ON])
    weights = [array.astype(np.float32) for array in trained.coefs_]
    biases = [array.astype(np.float32) for array in trained.intercepts_]
    forms: dict[str, dict[int, float]] = {
        "plain": {},
        "hostile": {1: 200},
        "worst": {0: 2000, 1: 2000, 2: 2000},
        "large": {1: 1e5},
    }
    for name, factors in forms.items():
        _write(*_grown(weights, biases, images[:TRAINED_ON], factors), folder / f"{name}.onnx")
    np.savez(folder / "x.npz", image=images[TRAINED_ON:])
    np.save(folder / "y.npy", labels[TRAINED_ON:].astype(np.int64))


def _grown(
    weights: list[np.ndarray], biases: list[np.ndarray], images: np.ndarray, factors: dict[int, float]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Copies in which the loudest hidden value behind layer i is larger by factors[i]."""
    grown, shifted, hidden = [w.copy() for w in weights], [b.copy() for b in biases], images
    for index in range(len(weights) - 1):
        hidden = np.maximum(hidden @ weights[index] + biases[index], 0)
        loudest, factor = int(hidden.max(0).argmax()), np.float32(factors.get(index, 1))
        grown[index][:, loudest] *= factor
        shifted[index][loudest] *= factor
        grown[index + 1][loudest] /= factor
    return grown, shifted


def _write(weights: list[np.ndarray], biases: list[np.ndarray], path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    nodes, tensor = [], "image"
    for index, name in enumerate(LAYERS):
        last = index == len(LAYERS) - 1
        out = "logits" if last else f"sum{index}"
        nodes.append(helper.make_node("Gemm", [tensor, f"w{index}", f"b{index}"], [out], name))
        if not last:
            tensor = f"hidden{index}"
            nodes.append(helper.make_node("Relu", [out], [tensor], f"relu{index}"))
    tensors = [*((f"w{i}", w) for i, w in enumerate(weights)), *((f"b{i}", b) for i, b in enumerate(biases))]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", 1, ["batch", 64])],
        [helper.make_tensor_value_info("logits", 1, ["batch", 10])],
        [onnx.numpy_helper.from_array(value, name) for name, value in tensors],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
