"""The small networks that the bench trains: one of each family, with the parts that are hard to quantize."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the size, with the batch norm that the export folds into it."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """Two convolutions beside a skip (He et al. 2015)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv(inputs, outputs, stride=stride), conv(outputs, outputs)
        plain = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if plain else conv(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[N,C,H,W] -> [N,C',H',W']."""
        return (self.second(self.first(x).relu()) + self.skip(x)).relu()


class SmallResNet(nn.Module):
    """image [N,1,32,32] -> logits [N,10]: six residual blocks of 16 to 64 channels."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
        self.stem, self.head = conv(1, 16, stride=2), nn.Linear(64, 10)
        self.blocks = nn.Sequential(*(Residual(*size) for size in sizes))

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the ten digits."""
        return self.head(self.blocks(self.stem(image).relu()).mean((2, 3)))  # type: ignore[no-any-return]


class MBConv(nn.Module):
    """Expand, depthwise, squeeze and excite, project, with SiLU (Tan and Le 2019, EfficientNet)."""

    def __init__(self, inputs: int, outputs: int, stride: int, ratio: int) -> None:
        super().__init__()
        middle, squeezed = inputs * ratio, max(4, inputs // 4)
        self.expand = conv(inputs, middle, 1) if ratio > 1 else None
        self.depthwise, self.project = conv(middle, middle, 3, stride, groups=middle), conv(middle, outputs, 1)
        self.squeeze, self.excite = nn.Conv2d(middle, squeezed, 1), nn.Conv2d(squeezed, middle, 1)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[N,C,H,W] -> [N,C',H',W']."""
        y = functional.silu(self.expand(x)) if self.expand is not None else x
        y = functional.silu(self.depthwise(y))
        gate = self.excite(functional.silu(self.squeeze(y.mean((2, 3), keepdim=True)))).sigmoid()
        y = self.project(y * gate)
        return y + x if self.skips else y


class SmallEfficientNet(nn.Module):
    """image [N,1,32,32] -> logits [N,10]: eight MBConv blocks, 42 layers."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(16, 16, 1, 1), (16, 24, 2, 4), (24, 24, 1, 4), (24, 40, 2, 4)]
        sizes += [(40, 40, 1, 4), (40, 64, 1, 4), (64, 64, 1, 4), (64, 80, 2, 4)]
        self.stem, self.last, self.head = conv(1, 16, stride=2), conv(80, 160, 1), nn.Linear(160, 10)
        self.blocks = nn.Sequential(*(MBConv(*size) for size in sizes))

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the ten digits."""
        y = functional.silu(self.last(self.blocks(functional.silu(self.stem(image)))))
        return self.head(y.mean((2, 3)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm attention and MLP, as GPT-2 and ViT have them."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.heads, self.causal = heads, causal

    def forward(self, x: Tensor) -> Tensor:
        """[N,S,C] -> [N,S,C]."""
        n, s, c = x.shape
        qkv = self.qkv(self.norms[0](x)).reshape(n, s, 3 * self.heads, c // self.heads).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(*qkv.chunk(3, dim=1), is_causal=self.causal)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, s, c))
        return x + self.down(functional.gelu(self.up(self.norms[1](x))))  # type: ignore[no-any-return]


class SmallViT(nn.Module):
    """image [N,1,32,32] -> logits [N,10]: patches of 4, four blocks of 64 with 4 heads (Dosovitskiy et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.place = nn.Conv2d(1, 64, 4, 4), nn.Parameter(torch.randn(1, 64, 64) * 0.02)
        self.blocks = nn.Sequential(*(Block(64, 4, causal=False) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the ten digits."""
        x = self.blocks(self.patches(image).flatten(2).transpose(1, 2) + self.place)
        return self.head(self.norm(x).mean(1))  # type: ignore[no-any-return]


class CharGpt(nn.Module):
    """characters int64 [N,S], S up to 64 -> logits [N,S,96] of the one that follows: three blocks of 128, 4 heads."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(96, 128), nn.Embedding(64, 128)
        self.blocks = nn.Sequential(*(Block(128, 4, causal=True) for _ in range(3)))
        self.norm, self.head = nn.LayerNorm(128), nn.Linear(128, 96)

    def forward(self, characters: Tensor) -> Tensor:
        """Logits of the next character at each place."""
        places = torch.arange(characters.shape[1], device=characters.device)
        x = self.blocks(self.tokens(characters) + self.places(places))
        return self.head(self.norm(x))  # type: ignore[no-any-return]


class RowReader(nn.Module):
    """rows [N,8,8], one row of pixels a step -> logits [N,10], by an LSTM of 128."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 128, batch_first=True), nn.Linear(128, 10)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits of the ten digits, from the last state."""
        _, (last, _) = self.lstm(rows)
        return self.head(last[-1])  # type: ignore[no-any-return]
