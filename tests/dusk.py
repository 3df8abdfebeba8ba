"""Digits judged by a small network, and by the same network with a range that hurts one class more than the average."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

DUSK = 0.3  # calibrated on pictures of this brightness: what is brighter is clipped


def network(weights: list[np.ndarray], largest: float | None, path: Path) -> None:
    """image [batch,1,8,8] -> logits [batch,10] by one hidden layer, whose values are INT8 up to `largest`."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    tensors = dict(zip(("w1", "b1", "w2", "b2"), weights, strict=True))
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w1", "b1"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "w2", "b2"], ["logits"]),
    ]
    if largest is not None:
        tensors |= {"scale": np.float32(largest / 127), "zero": np.int8(0)}
        nodes[3].input[0] = "dequantized"
        nodes[3:3] = [
            helper.make_node("QuantizeLinear", ["hidden", "scale", "zero"], ["quantized"]),
            helper.make_node("DequantizeLinear", ["quantized", "scale", "zero"], ["dequantized"]),
        ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", 1, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", 1, ["batch", 10])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def make(folder: Path) -> None:
    """Write `fp32.onnx`; `day.onnx` and `dusk.onnx`, INT8 with the range of the training pictures, and with that of the
    same pictures at dusk; 1197 pictures that none of them saw in `data.npz`; `labels.npy`, and `labels.csv` whose
    column `ink` says how much of a picture is written on."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn's digits are the data")
    from sklearn.neural_network import MLPClassifier

    images, labels = datasets.load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        trained = MLPClassifier((32,), max_iter=300, random_state=0).fit(images[:600], labels[:600])
    weights = [
        array.astype(np.float32) for pair in zip(trained.coefs_, trained.intercepts_, strict=True) for array in pair
    ]
    for name, light in (("fp32", None), ("day", 1.0), ("dusk", DUSK)):
        hidden = None if light is None else np.maximum(light * images[:600] @ weights[0] + weights[1], 0)
        network(weights, None if hidden is None else float(hidden.max()), folder / f"{name}.onnx")
    held_out = images[600:]
    np.savez(folder / "data.npz", image=held_out.reshape(-1, 1, 8, 8))
    np.save(folder / "labels.npy", labels[600:].astype(np.int64))
    ink = np.array(["little", "some", "much"])[np.digitize(held_out.mean(1), [0.27, 0.33])]
    rows = [f"{index},{ink[index]},{label}" for index, label in enumerate(labels[600:].tolist())]
    (folder / "labels.csv").write_text("\n".join(["sample,ink,label", *rows]) + "\n")
