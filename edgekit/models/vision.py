"""torchvision's classifiers, untrained until `--weights` is given (no package carries their weights)."""

from __future__ import annotations

import math
from typing import Any

import torchvision
from torch import nn

from edgekit.models.network import Network, imagenet_classifier, seeded


def alexnet() -> Network:
    """AlexNet (Krizhevsky 2014, one weird trick): image float32 [N,3,224,224] -> logits [N,1000]."""
    return _torchvision("alexnet")


def vgg11() -> Network:
    """VGG-11 (Simonyan and Zisserman 2014), configuration A."""
    return _torchvision("vgg11")


def vgg16() -> Network:
    """VGG-16 (Simonyan and Zisserman 2014), configuration D."""
    return _torchvision("vgg16")


def resnet18() -> Network:
    """ResNet-18 (He et al. 2015)."""
    return _torchvision("resnet18")


def resnet50() -> Network:
    """ResNet-50 (He et al. 2015), torchvision's v1.5 with the stride in the 3x3 convolution."""
    return _torchvision("resnet50")


def efficientnet_b0() -> Network:
    """EfficientNet-B0 (Tan and Le 2019): depthwise convolutions, SiLU, squeeze and excitation."""
    return _torchvision("efficientnet_b0")


def vit_b_16() -> Network:
    """ViT-B/16 (Dosovitskiy et al. 2020): patches of 16, 12 layers of 768."""
    return _torchvision("vit_b_16")


def vit_small() -> Network:
    """A ViT for small boards: patches of 16, 8 layers of 192 with 3 heads, as wide as DeiT-Ti (Touvron et al. 2020)."""
    return _network(
        lambda: torchvision.models.VisionTransformer(
            image_size=224, patch_size=16, num_layers=8, num_heads=3, hidden_dim=192, mlp_dim=768
        )
    )


def _torchvision(name: str) -> Network:
    return _network(lambda: getattr(torchvision.models, name)(weights=None))


def _network(make: Any) -> Network:
    def awake() -> nn.Module:
        module: nn.Module = make()
        awaken(module)
        return module

    return imagenet_classifier(seeded(awake), "x", trained=False)


def awaken(module: nn.Module) -> None:
    """Make the untrained network say something, or every comparison with it proves nothing.

    torchvision starts a ViT's head at zero, and its depthwise convolutions as if each output read all channels, so that
    an EfficientNet's activations die out over its layers (He et al. 2015, Delving Deep into Rectifiers: the variance is
    2 / fan, and a depthwise fan is the kernel alone); so they do by gates of squeeze and excitation that are half shut.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear) and not layer.weight.any():
            nn.init.normal_(layer.weight, std=0.02)
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.weight[0].numel()))
        if isinstance(layer, torchvision.ops.SqueezeExcitation) and layer.fc2.bias is not None:
            nn.init.constant_(layer.fc2.bias, 4.0)
