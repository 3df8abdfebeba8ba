"""Networks of more than one kind of layer, untrained until `--weights` is given: convolution, recurrence, attention.

Sources: Donahue et al. 2014, Long-term Recurrent Convolutional Networks (an LSTM over a CNN of each frame); Amodei et
al. 2015, Deep Speech 2 (strided convolutions over time and mel bands under recurrence in both directions); Graves et
al. 2006, Connectionist Temporal Classification; Yang et al. 2016, Hierarchical Attention Networks (pooling).

Shapes: N batch, T time, C channels or classes, S edge of a picture, M mel bands, I input, H hidden, h heads, D head
size, V vocabulary. lengths int64 [N] says how many steps of each sample are real, 1..T; what follows is not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from edgekit.errors import UsageError
from edgekit.models.network import Network, untrained
from edgekit.models.sizes import check_heads, sizes_from_one

# Far below any score, and a number of half precision.
_NEVER = -6e4


@dataclass(frozen=True)
class VideoConfig:
    """`image_size` is the edge S of a frame; `channels` those of the first convolution, doubled three times."""

    image_size: int = 112
    channels: int = 16
    hidden_size: int = 128
    classes: int = 10

    def __post_init__(self) -> None:
        sizes_from_one(self)


@dataclass(frozen=True)
class SpeechConfig:
    """`channels` are those of the convolutions; `vocabulary` counts the letters and, at 0, CTC's blank."""

    mels: int = 80
    channels: int = 32
    layers: int = 2
    hidden_size: int = 128
    heads: int = 4
    vocabulary: int = 29

    def __post_init__(self) -> None:
        sizes_from_one(self)
        check_heads(self.heads, 2 * self.hidden_size, f"2 * hidden_size {self.hidden_size}")
        if self.vocabulary < 2:
            raise UsageError("vocabulary: expected 2 or more, the blank and a letter, found 1")


@dataclass(frozen=True)
class PooledConfig:
    """The LSTM runs in both directions unless told otherwise."""

    bidirectional: bool = True
    layers: int = 1
    input_size: int = 40
    hidden_size: int = 128
    classes: int = 10

    def __post_init__(self) -> None:
        sizes_from_one(self)


def steps_within(lengths: Tensor, steps: int) -> Tensor:
    """lengths [N] -> bool [N,T], true where a step is real."""
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


class VideoClassifier(nn.Module):
    """frames [N,T,3,S,S] -> logits [N,C]: a small CNN sees every frame, an LSTM what happens over them."""

    def __init__(self, config: VideoConfig) -> None:
        super().__init__()
        widths = (3, *(config.channels << stage for stage in range(4)))
        self.frame = nn.Sequential(*(_halved(before, after) for before, after in pairwise(widths)))
        self.steps = nn.LSTM(widths[-1], config.hidden_size, batch_first=True)
        self.head = nn.Linear(config.hidden_size, config.classes)

    def forward(self, frames: Tensor) -> Tensor:
        """From the state after the last frame."""
        features = self.frame(frames.flatten(0, 1)).mean((2, 3))
        _, (last, _) = self.steps(features.unflatten(0, frames.shape[:2]))
        return self.head(last[-1])  # type: ignore[no-any-return]


class SpeechRecognizer(nn.Module):
    """mel [N,T,M], lengths [N] -> log-probabilities [N,T',V] and the lengths [N] in T' steps, T' = ceil(T / 4)."""

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        width = 2 * config.hidden_size
        self.front = nn.ModuleList([_halved(1, config.channels), _halved(config.channels, config.channels)])
        bands = halved(halved(config.mels))
        self.steps = nn.GRU(
            config.channels * bands, config.hidden_size, config.layers, batch_first=True, bidirectional=True
        )
        self.attention = nn.MultiheadAttention(width, config.heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.vocabulary)

    def forward(self, mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """CTC reads the first lengths' steps of the first output; behind them it means nothing."""
        maps = mel[:, None]
        for layer in self.front:
            # A kernel at a sample's end reaches into its padding: there must be nothing.
            maps = layer(torch.where(steps_within(lengths, maps.shape[2])[:, None, :, None], maps, 0.0))
            lengths = halved(lengths)
        steps = maps.transpose(1, 2).flatten(2)
        packed, _ = self.steps(pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False))
        steps, _ = pad_packed_sequence(packed, batch_first=True, total_length=steps.shape[1])
        padding = ~steps_within(lengths, steps.shape[1])
        seen, _ = self.attention(steps, steps, steps, key_padding_mask=padding, need_weights=False)
        return self.head(self.norm(steps + seen)).log_softmax(-1), lengths


class PooledClassifier(nn.Module):
    """x [N,T,I], lengths [N] -> logits [N,C], from all real steps, each as much as it matters.

    Yang's attention: a step scores query . tanh(W y + b), and the query is learned. It is written out, not a call of
    scaled_dot_product_attention: TensorRT-RTX has no kernel for a query of one row and refuses the node.
    """

    def __init__(self, config: PooledConfig) -> None:
        super().__init__()
        width = config.hidden_size * (2 if config.bidirectional else 1)
        self.steps = nn.LSTM(
            config.input_size,
            config.hidden_size,
            config.layers,
            batch_first=True,
            bidirectional=config.bidirectional,
        )
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, 1, bias=False)
        nn.init.normal_(self.query.weight)  # with torch's own, an untrained network weighs all steps alike
        self.head = nn.Linear(width, config.classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Weights [N,1,T] over the steps [N,T,H]."""
        packed, _ = self.steps(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        steps, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        scores = self.query(self.key(steps).tanh()).transpose(1, 2)
        weights = torch.where(steps_within(lengths, x.shape[1])[:, None], scores, _NEVER).softmax(-1)
        return self.head((weights @ steps)[:, 0])  # type: ignore[no-any-return]


def cnn_lstm(config: VideoConfig) -> Network:
    """What is done in a film: a gesture, a fall, a part that is put in its place."""
    frames = torch.randn(2, 8, 3, config.image_size, config.image_size, generator=torch.Generator().manual_seed(0))
    axes, ranges = {"frames": {0: "batch", 1: "time"}}, {"time": (1, 8, 64)}
    return untrained(lambda: VideoClassifier(config), {"frames": frames}, ("logits",), axes=axes, ranges=ranges)


def cnn_bigru_ctc(config: SpeechConfig) -> Network:
    """What is said: letters from mel bands, to be decoded by CTC."""
    mel = torch.randn(2, 50, config.mels, generator=torch.Generator().manual_seed(0))
    examples = {"mel": mel, "lengths": torch.tensor([50, 31])}
    # 50 ms to 30 s of the usual 100 frames a second, tuned for 4 s.
    ranges = {"time": (5, 400, 3000)}
    return untrained(lambda: SpeechRecognizer(config), examples, ("log_probabilities", "steps"), ranges=ranges)


def lstm_attention(config: PooledConfig) -> Network:
    """Sequence classification where what tells is somewhere in the middle."""
    x = torch.randn(2, 16, config.input_size, generator=torch.Generator().manual_seed(0))
    return untrained(lambda: PooledClassifier(config), {"x": x, "lengths": torch.tensor([16, 9])}, ("logits",))


def halved(size: Any) -> Any:
    """How many steps a convolution of `_halved` makes of `size`: ceil(size / 2)."""
    return (size + 1) // 2


def _halved(channels: int, more: int) -> nn.Sequential:
    """A convolution [N,C,T,M] -> [N,more,ceil(T/2),ceil(M/2)].

    He et al. 2015's initial weights: with torch's own, what an untrained network says dies out over its layers.
    """
    convolution = nn.Conv2d(channels, more, 3, stride=2, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(more), nn.ReLU())
