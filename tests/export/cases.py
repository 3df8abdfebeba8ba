"""How each architecture of `export --list` is tried: its tiny settings and inputs of any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """`inputs(examples, batch, size, generator)` makes forward's arguments, in order, keyed by their ONNX names.

    It serves the tiny network and the full one: widths come from `examples`. `sizes` are lengths, or edges of a
    picture; a network of one size has one. `ops` are counts of ONNX nodes in the tiny network. `refused` maps a
    precision to words of the error by which TensorRT-RTX refuses it.
    """

    inputs: Callable[[Inputs, int, int, Any], Inputs]
    settings: tuple[str, ...] = ()
    sizes: tuple[int, ...] = (5, 37)
    tolerance: float = 1e-5
    ops: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


TINY = ("layers=2", "input_size=5", "hidden_size=12", "classes=4", "vocabulary=11")


def picture(examples: Inputs, batch: int, size: int, generator: Any) -> Inputs:
    return {"image": torch.randn(batch, 3, size, size, generator=generator)}


def series(examples: Inputs, batch: int, steps: int, generator: Any) -> Inputs:
    return {"x": torch.randn(batch, steps, examples["x"].shape[-1], generator=generator)}


def series_with_lengths(examples: Inputs, batch: int, steps: int, generator: Any) -> Inputs:
    lengths = torch.randint(1, steps + 1, (batch,), generator=generator)
    return {**series(examples, batch, steps, generator), "lengths": lengths}


def tokens(examples: Inputs, batch: int, steps: int, generator: Any) -> Inputs:
    return {"tokens": torch.randint(11, (batch, steps), generator=generator)}


def _recurrent(cell: str, task: str) -> Case:
    inputs = {"forecaster": series, "language_model": tokens}.get(task, series_with_lengths)
    return Case(inputs, TINY, ops={cell.removeprefix("bi").upper(): 2})


_ONE_WAY, _CELLS = ("rnn", "lstm", "gru"), ("rnn", "lstm", "gru", "birnn", "bilstm", "bigru")
_VISION = ("efficientnet_lite0", "alexnet", "vgg11", "vgg16", "resnet18", "resnet50", "efficientnet_b0")

CASES: dict[str, Case] = {
    **{name: Case(picture, sizes=(224,), tolerance=1e-4) for name in (*_VISION, "vit_b_16", "vit_small")},
    **{f"{cell}_{task}": _recurrent(cell, task) for task in ("classifier", "tagger") for cell in _CELLS},
    **{f"{cell}_{task}": _recurrent(cell, task) for task in ("forecaster", "language_model") for cell in _ONE_WAY},
}
