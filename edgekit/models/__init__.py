"""The reviewed architectures. This module imports no torch: `edgekit export --list` is quick."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """A network that edgekit knows by name.

    `builder` is `module:function`; the function takes no argument and returns an `edgekit.models.network.Network`.
    """

    family: str
    task: str
    builder: str


ARCHITECTURES = {
    "efficientnet_lite0": Architecture("cnn", "image classification", "edgekit.models.efficientnet:lite0"),
    "resnet18": Architecture("cnn", "image classification", "edgekit.models.resnet:resnet18"),
    "resnet50": Architecture("cnn", "image classification", "edgekit.models.resnet:resnet50"),
}
