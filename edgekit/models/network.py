"""What a builder returns: a torch module with what the export needs to know about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from edgekit.specs import Stream


@dataclass(frozen=True)
class Network:
    """`examples` maps forward's argument names to tensors; axis 0 is the batch N.

    `inputs` and `outputs` are the ONNX names; empty, inputs keep forward's names and outputs are named by the export.
    `axes` names the open axes of an argument, {axis: dimension}, where the export's rule does not hold: a recurrent
    state [layers,N,H] has {1: "batch"}. `ranges` bounds a dimension, (min, opt, max), that the network itself bounds.
    `stream` says what of it is carried from one call to the next.
    """

    module: torch.nn.Module
    examples: dict[str, torch.Tensor]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    examples_are: str = "the module's own example inputs"
    trained: bool = True
    axes: dict[str, dict[int, str]] = field(default_factory=dict)
    ranges: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    stream: Stream | None = None


def seeded(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """What `make` returns, with seeded weights, so that two exports of the untrained network are the same file."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def untrained(
    make: Callable[[], torch.nn.Module], examples: dict[str, torch.Tensor], outputs: tuple[str, ...], **rest: Any
) -> Network:
    """The seeded network that `make` returns, with examples that are noise, and every report says so."""
    return Network(seeded(make), examples, outputs=outputs, examples_are="seeded noise", trained=False, **rest)


def imagenet_classifier(module: torch.nn.Module, argument: str, *, trained: bool) -> Network:
    """A module of one picture [N,3,224,224] -> logits [N,1000] over the classes of ILSVRC 2012.

    The examples are seeded noise in -1..1: shapes for the exporter, not data, and every report says so.
    """
    from torchvision.models import ResNet18_Weights

    noise = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
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
