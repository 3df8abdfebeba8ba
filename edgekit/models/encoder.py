"""A transformer encoder over a series, untrained until `--weights` is given.

Source: Vaswani et al. 2017, Attention Is All You Need (encoder layers, sinusoidal positions); Xiong et al. 2020, On
Layer Normalization in the Transformer Architecture (the norm before each block, which trains without a warm-up).

Shapes: N batch, T time, I input, H hidden, h heads, C classes. x float32 [N,T,I], lengths int64 [N] says how many steps
of each sample are real, 1..T; what follows is not seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgekit.errors import UsageError
from edgekit.models.network import Network, untrained
from edgekit.models.sizes import check_heads, sizes_from_one, up_to


@dataclass(frozen=True)
class EncoderConfig:
    """`longest` is the largest T, as many positions are known; `feedforward_size` is the width within a block."""

    layers: int = 4
    heads: int = 4
    input_size: int = 40
    hidden_size: int = 128
    feedforward_size: int = 512
    longest: int = 512
    classes: int = 10

    def __post_init__(self) -> None:
        sizes_from_one(self)
        check_heads(self.heads, self.hidden_size, f"hidden_size {self.hidden_size}")
        if self.hidden_size % 2:
            raise UsageError(f"hidden_size: expected an even number, a sine and a cosine, found {self.hidden_size}")
        if self.longest < 2:
            raise UsageError(f"longest: expected 2 or more, found {self.longest}")


class EncoderClassifier(nn.Module):
    """x [N,T,I], lengths [N] -> logits [N,C], from the mean of what the encoder says at the real steps."""

    positions: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.embedding = nn.Linear(config.input_size, config.hidden_size)
        # Not among the weights: a checkpoint loads whatever its `longest` was.
        self.register_buffer("positions", sinusoids(config.longest, config.hidden_size), persistent=False)
        layer = nn.TransformerEncoderLayer(
            config.hidden_size,
            config.heads,
            config.feedforward_size,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        norm = nn.LayerNorm(config.hidden_size)
        self.encoder = nn.TransformerEncoder(layer, config.layers, norm, enable_nested_tensor=False)
        self.head = nn.Linear(config.hidden_size, config.classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Many to one."""
        real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        embedded = self.embedding(x) + self.positions[: x.shape[1]]
        steps = self.encoder(embedded, src_key_padding_mask=~real)
        # Divided first: a sum over many steps is beyond half precision.
        weights = real[:, :, None] / lengths[:, None, None]
        return self.head((steps * weights).sum(1))  # type: ignore[no-any-return]


def sinusoids(steps: int, width: int) -> Tensor:
    """[T,H]: sines of falling frequency in the even columns, cosines in the odd ones."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angles = torch.arange(steps)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def classifier(config: EncoderConfig) -> Network:
    """Sequence classification where far steps explain each other: sensors of a machine, movements, spoken commands."""
    length = min(16, config.longest)
    x = torch.randn(2, length, config.input_size, generator=torch.Generator().manual_seed(0))
    examples = {"x": x, "lengths": torch.tensor([length, max(1, length - 7)])}
    return untrained(lambda: EncoderClassifier(config), examples, ("logits",), ranges={"time": up_to(config.longest)})
