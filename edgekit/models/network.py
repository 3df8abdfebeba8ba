"""What a builder returns: a torch module with what the export needs to know about it."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Network:
    """`examples` maps forward's argument names to tensors; axis 0 is the batch N.

    `inputs` and `outputs` are the ONNX names; empty, inputs keep forward's names and outputs are named by the export.
    """

    module: torch.nn.Module
    examples: dict[str, torch.Tensor]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    examples_are: str = "the module's own example inputs"
    trained: bool = True


def imagenet_classifier(module: torch.nn.Module, argument: str, *, trained: bool) -> Network:
    """A module of one picture [N,3,224,224] -> logits [N,1000] over the classes of ILSVRC 2012.

    The examples are seeded normal noise: shapes for the exporter, not data, and every report says so.
    """
    from torchvision.models import ResNet18_Weights

    noise = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    return Network(
        module=module,
        examples={argument: noise},
        inputs=("image",),
        outputs=("logits",),
        # torchvision and TensorFlow share the order of the classes.
        labels=tuple(ResNet18_Weights.DEFAULT.meta["categories"]),
        examples_are="seeded noise",
        trained=trained,
    )
