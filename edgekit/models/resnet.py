"""ResNets of torchvision, untrained until `--weights` is given (no package carries their weights)."""

from __future__ import annotations

import torch
import torchvision

from edgekit.models.network import Network, imagenet_classifier


def resnet18() -> Network:
    """ResNet-18 (He et al. 2015): image float32 [N,3,224,224] -> logits [N,1000]."""
    return _resnet("resnet18")


def resnet50() -> Network:
    """ResNet-50 (He et al. 2015), torchvision's v1.5 with the stride in the 3x3 convolution."""
    return _resnet("resnet50")


def _resnet(name: str) -> Network:
    # Seeded, so that two exports of the untrained network are the same file.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = getattr(torchvision.models, name)(weights=None)
    return imagenet_classifier(module, "x", trained=False)
