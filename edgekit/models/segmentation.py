"""torchvision's segmentation for small boards, untrained until `--weights` is given (no package has its weights)."""

from __future__ import annotations

from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import interpolate

from edgekit.models.network import Network, untrained
from edgekit.models.vision import awaken

_EDGE = (32, 512, 1024)


class Segmenter(nn.Module):
    """image float32 [N,3,height,width] -> logits [N,C,height,width], a class for every pixel.

    torchvision's LRASPP says the same in a dict; its weights have the same names.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.backbone, self.classifier = network.backbone, network.classifier

    def forward(self, image: Tensor) -> Tensor:
        """Classes at an eighth of the picture's edges, drawn out to its size."""
        logits = self.classifier(self.backbone(image))
        return interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)


def lraspp_mobilenet_v3_large() -> Network:
    """Lite R-ASPP over MobileNetV3-Large (Howard et al. 2019), 21 classes as in Pascal VOC, pictures of any size."""
    noise = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    return untrained(
        _segmenter,
        {"image": noise},
        ("logits",),
        axes={"image": {0: "batch", 2: "height", 3: "width"}},
        ranges={"height": _EDGE, "width": _EDGE},
    )


def _segmenter() -> Segmenter:
    made = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    awaken(made)
    return Segmenter(made)
