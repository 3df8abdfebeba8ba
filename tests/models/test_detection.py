"""MTCNN finds the astronaut's face, and no face in a cup of coffee, by our ONNX of its three nets."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from edgekit.configs import QuantizeConfig  # noqa: E402
from edgekit.errors import ModelError  # noqa: E402
from edgekit.export import export  # noqa: E402
from edgekit.export.source import load_network  # noqa: E402
from edgekit.models.detection import facenet_code  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402

NETS = ("mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet")
pipeline = pytest.mark.skipif(importlib.util.find_spec("facenet_pytorch") is None, reason="needs facenet-pytorch")


class Exported(torch.nn.Module):
    """An ONNX file in the place of a net; the pipeline asks a parameter for the dtype to compute in."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.dtype = torch.nn.Parameter(torch.zeros(1), requires_grad=False)
        self.calls = 0
        # FP16 casts are run as they are written.
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def forward(self, image: Any) -> tuple[Any, ...]:
        self.calls += 1
        return tuple(map(torch.from_numpy, self.session.run(None, {"image": image.numpy()})))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("mtcnn")
    fp32 = [export(name, folder / f"{name}.onnx").path for name in NETS]
    fp16 = [quantize(path, path.with_suffix(".fp16.onnx"), QuantizeConfig("fp16")).path for path in fp32]
    return {"fp32": fp32, "fp16": fp16}


def photo(name: str) -> Any:
    return np.array(getattr(pytest.importorskip("skimage.data"), name)())


def detector(files: list[Path] | None = None) -> Any:
    made = facenet_code().MTCNN(keep_all=True)
    if files:
        made.pnet, made.rnet, made.onet = map(Exported, files)
    return made


def detect(made: Any, name: str) -> list[Any]:
    """Boxes [faces,4], probabilities [faces] and landmarks [faces,5,2]; the package returns arrays of objects."""
    return [np.asarray(item, np.float32) for item in made.detect(photo(name), landmarks=True)]


# FP16 moves a corner by some hundredths of a pixel.
@pipeline
@pytest.mark.parametrize(("precision", "pixels", "probability"), [("fp32", 0.01, 1e-4), ("fp16", 0.1, 0.001)])
def test_the_astronaut_has_a_face(files, precision, pixels, probability):
    boxes, found, landmarks = detect(detector(files[precision]), "astronaut")
    wanted, sure, points = detect(detector(), "astronaut")
    np.testing.assert_allclose(boxes, wanted, atol=pixels)
    np.testing.assert_allclose(found, sure, atol=probability)
    np.testing.assert_allclose(landmarks, points, atol=pixels)
    np.testing.assert_allclose(boxes, [[181, 62, 268, 172]], atol=2)
    assert found[0] > 0.99
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


@pipeline
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_cup_of_coffee_has_none(files, precision):
    made = detector(files[precision])
    boxes, found = made.detect(photo("coffee"))
    assert (boxes, list(found)) == (None, [None])
    assert made.pnet.calls > 5, "pictures of every scale"


@pipeline
def test_the_nets_are_trained_and_named():
    for name, outputs in zip(NETS, (2, 2, 3), strict=True):
        network = load_network(name, None)
        assert network.trained
        assert len(network.outputs) == outputs
        made = network.module(*network.examples.values())
        shares = made[network.outputs.index("probabilities")].sum(1)
        assert torch.allclose(shares, torch.ones_like(shares))
        assert made[network.outputs.index("boxes")].shape[1] == 4


@pipeline
def test_the_package_itself_stays_unloaded():
    """Its start asks for `requests`; a user's own import of it must find nothing half done."""
    before = set(sys.modules)
    facenet_code.cache_clear()
    facenet_code()
    assert not {name for name in set(sys.modules) - before if name.startswith(("facenet_pytorch", "requests"))}


@pytest.mark.parametrize("name", NETS)
def test_without_the_package(name, monkeypatch):
    facenet_code.cache_clear()
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    with pytest.raises(ModelError, match=r"carries MTCNN.*pip install --no-deps facenet-pytorch"):
        load_network(name, None)
