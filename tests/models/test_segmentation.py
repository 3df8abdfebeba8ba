"""Segmentation: torchvision's own network and weights, at every size of picture."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from edgekit.configs import ExportConfig  # noqa: E402
from edgekit.errors import ModelError  # noqa: E402
from edgekit.export import export  # noqa: E402
from edgekit.export.source import load_network  # noqa: E402

NAME = "lraspp_mobilenet_v3_large"


@pytest.fixture(scope="module")
def elsewhere():
    """torchvision's model with weights, and statistics of its norms, that are not of our seed."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.running_var.uniform_(0.01, 0.1)
                layer.running_mean.normal_(std=0.1)
    return model.eval()


def picture(height: int, width: int):
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(height * 1000 + width))


@pytest.mark.slow  # exports a network of 3 million weights
def test_a_checkpoint_of_torchvision_at_any_size_of_picture(elsewhere, tmp_path):
    torch.save(elsewhere.state_dict(), tmp_path / "m.pth")
    report = export(NAME, tmp_path / "m.onnx", ExportConfig(weights=tmp_path / "m.pth"))
    assert report.warnings == ()
    session = onnxruntime.InferenceSession(str(report.path), providers=["CPUExecutionProvider"])
    for height, width in ((32, 32), (64, 224), (65, 47), (240, 320)):
        image = picture(height, width)
        with torch.no_grad():
            wanted = elsewhere(image)["out"].numpy()
        found = session.run(["logits"], {"image": image.numpy()})[0]
        assert found.shape == (1, 21, height, width)
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
        assert wanted.std() > 1e-3 * np.abs(wanted).max()


def test_it_is_torchvision_s_network(elsewhere, tmp_path):
    torch.save(elsewhere.state_dict(), tmp_path / "m.pth")
    network = load_network(NAME, tmp_path / "m.pth")
    assert network.trained
    with torch.no_grad():
        assert torch.equal(network.module(picture(64, 96)), elsewhere(picture(64, 96))["out"])


def test_other_weights_are_refused(elsewhere, tmp_path):
    state = elsewhere.state_dict()
    state["classifier.low_classifier.bias"] = torch.ones(20)
    torch.save(state, tmp_path / "m.pth")
    with pytest.raises(ModelError, match=r"classifier\.low_classifier\.bias"):
        load_network(NAME, tmp_path / "m.pth")


def test_the_untrained_network_says_something_by_its_last_layers_too():
    module = load_network(NAME, None).module
    whole = module(picture(64, 96))
    module.classifier.high_classifier.weight.zero_()
    assert float((module(picture(64, 96)) - whole).std(dim=(2, 3)).mean()) > 0.1 * float(whole.std(dim=(2, 3)).mean())
