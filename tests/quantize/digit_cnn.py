"""A small convolutional network that reads scikit-learn's digits, trained in the run: torch's oracle and its ONNX.

image [batch,1,8,8] -> a -> b -> c (two convolutions read b) -> flat [batch,16] -> logits [batch,10].
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgekit.data import Samples
from edgekit.quantize.choice import Subject
from edgekit.quantize.held_back import HeldBack
from edgekit.quantize.int8 import Form
from edgekit.quantize.observers import Observer, Statistics
from tests.quantize.graphs import Arrays, graph, layers_of, node, value

AXES = {"image": 1, "a": 1, "b": 1, "flat": -1}


@functools.lru_cache(1)
def digits() -> tuple[np.ndarray, np.ndarray]:
    """1797 images float32 [N,1,8,8] of 0..1, and their digits."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn's digits are the data")
    images, labels = datasets.load_digits(return_X_y=True)
    return (images / 16).astype(np.float32).reshape(-1, 1, 8, 8), labels.astype(np.int64)


@functools.lru_cache(1)
def network():
    """The torch modules by name, trained on the first 1300 digits for a second or two."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    nn = torch.nn
    net = nn.ModuleDict(
        {
            "first": nn.Conv2d(1, 8, 3, padding=1),
            "second": nn.Conv2d(8, 16, 3, stride=2, padding=1),
            "left": nn.Conv2d(16, 16, 3, padding=1),
            "right": nn.Conv2d(16, 16, 1, bias=False),
            "dense": nn.Linear(16, 10),
        }
    )
    images, labels = (torch.from_numpy(array[:1300]) for array in digits())
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(10):
        for start in range(0, 1300, 260):
            optimizer.zero_grad()
            logits = activations(net, images[start : start + 260])["logits"]
            nn.functional.cross_entropy(logits, labels[start : start + 260]).backward()
            optimizer.step()
    torch.set_num_threads(threads)
    return net.requires_grad_(False)


def activations(net, image) -> dict:
    """All tensors that layers read, and the logits, as torch computes them."""
    a = net["first"](image).relu()
    b = net["second"](a).relu()
    c = (net["left"](b) + net["right"](b)).relu()
    flat = c.mean(dim=(2, 3))
    return {"image": image, "a": a, "b": b, "flat": flat, "logits": net["dense"](flat)}


def weights() -> Arrays:
    """By module and parameter, such as `first.weight`."""
    return {name: tensor.numpy().copy() for name, tensor in network().state_dict().items()}


def as_onnx(arrays: Arrays | None = None, batch: int | str = "batch") -> onnx.ModelProto:
    """The network with these weights; else with those that were trained."""
    nodes = [
        node("Conv", "image first.weight first.bias", "a0", "first", pads=[1, 1, 1, 1]),
        node("Relu", "a0", "a"),
        node("Conv", "a second.weight second.bias", "b0", "second", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", "b0", "b"),
        node("Conv", "b left.weight left.bias", "c0", "left", pads=[1, 1, 1, 1]),
        node("Conv", "b right.weight", "c1", "right"),
        node("Add", "c0 c1", "c2"),
        node("Relu", "c2", "c"),
        node("GlobalAveragePool", "c", "pool"),
        node("Flatten", "pool", "flat"),
        node("Gemm", "flat dense.weight dense.bias", "logits", "dense", transB=1),
    ]
    return graph(nodes, [value("image", batch, 1, 8, 8)], ["logits"], arrays or weights())


def digest(model: onnx.ModelProto) -> str:
    return hashlib.sha256(model.SerializeToString()).hexdigest()


def saved(folder: Path, images: np.ndarray, name: str = "digits.npz") -> str:
    """An .npz of these images."""
    np.savez(folder / name, image=images)
    return str(folder / name)


def subject_of(model: onnx.ModelProto, feeds: Arrays) -> Subject:
    """All layers of a model, with what they have seen of `feeds`."""
    layers = tuple(layers_of(model))
    axes = {layer.activation: layer.channels for layer in layers}
    statistics: Statistics = Observer(model, axes).see(feeds)[0]
    return Subject(model, layers, (), (), statistics, Form())


def held_back_of(model: onnx.ModelProto, feeds: Arrays, labels: np.ndarray | None = None) -> HeldBack:
    """One sample at a time, with what the float model makes of it."""
    axes = {layer.activation: layer.channels for layer in layers_of(model)}
    observer, held_back = Observer(model, axes), HeldBack(labels)
    for index in range(len(next(iter(feeds.values())))):
        part = Samples(np.array([index]), {name: array[index : index + 1] for name, array in feeds.items()})
        statistics, outputs = observer.see(part.inputs)
        held_back.add(part, outputs, statistics)
    return held_back
