"""Train each network on real data, on one thread from a fixed seed. The functions without parameters are for `export`.

Digits: scikit-learn's 1797 (Alpaydin & Kaynak: 8x8 pixels, 43 writers); 1347 to train on, 450 held out. Text: the
help topics of Python's own documentation (`pydoc_data.topics`); the last tenth is held out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pydoc_data.topics import topics

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from tests.bench.quantize.networks import CharGpt, RowReader, SmallEfficientNet, SmallResNet, SmallViT

TRAINED_ON = 1347  # three quarters of 1797
SPAN = 64  # characters that CharGpt sees at once

Made = tuple[nn.Module, dict[str, Tensor]]


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """All images as float32 [1797,8,8] in 0..1 and their digits int64 [1797], shuffled once and for all."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    return found.images[order].astype(np.float32) / 16, found.target[order].astype(np.int64)


def pictures() -> np.ndarray:
    """The digits as float32 [1797,1,32,32], enlarged bilinearly, with mean 0 and deviation 1."""
    small = torch.from_numpy(digits()[0])[:, None]
    large = functional.interpolate(small, size=32, mode="bilinear")
    return ((large - large.mean()) / large.std()).numpy()


@functools.cache
def text() -> tuple[np.ndarray, np.ndarray]:
    """The text to train on and the one held out, int64, printable ASCII as 0..94 and all else as 95."""
    whole = "\n".join(topics[name] for name in sorted(topics))
    codes = np.frombuffer(whole.encode("ascii", "replace"), np.uint8).astype(np.int64) - 32
    codes[(codes < 0) | (codes > 94)] = 95
    cut = len(codes) * 9 // 10
    return codes[:cut], codes[cut:]


@functools.cache
def resnet() -> Made:
    return _classifier(SmallResNet, "image", pictures(), epochs=12, rate=5e-3)


@functools.cache
def efficientnet() -> Made:
    return _classifier(SmallEfficientNet, "image", pictures(), epochs=15, rate=5e-3)


@functools.cache
def vit() -> Made:
    return _classifier(SmallViT, "image", pictures(), epochs=25, rate=2e-3)


@functools.cache
def lstm() -> Made:
    return _classifier(RowReader, "rows", digits()[0], epochs=30, rate=1e-2)


@functools.cache
def gpt() -> Made:
    """Some 700 batches of 32 pieces of text."""
    characters = torch.from_numpy(text()[0])
    return char_gpt(700), {"characters": characters[:96].reshape(2, 48)}


def char_gpt(batches: int) -> nn.Module:
    """CharGpt after so many batches of 32 pieces of text."""
    characters = torch.from_numpy(text()[0])

    def pieces() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(batches):
            starts = torch.randint(len(characters) - SPAN, (32,))
            rows = torch.stack([characters[start : start + SPAN + 1] for start in starts.tolist()])
            yield rows[:, :-1], rows[:, 1:]

    return _trained(CharGpt, pieces, batches, 2e-3)


def _classifier(kind: Callable[[], nn.Module], name: str, images: np.ndarray, *, epochs: int, rate: float) -> Made:
    x, y = (torch.from_numpy(array[:TRAINED_ON]) for array in (images, digits()[1]))

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(epochs):
            for rows in torch.randperm(TRAINED_ON).split(64):
                yield x[rows], y[rows]

    return _trained(kind, batches, epochs * -(-TRAINED_ON // 64), rate), {name: x[:2]}


def _trained(
    kind: Callable[[], nn.Module], batches: Callable[[], Iterator[tuple[Tensor, Tensor]]], steps: int, rate: float
) -> nn.Module:
    """AdamW with one cycle of the rate, by cross entropy over the last axis."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = kind()
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for x, y in batches():
        optimizer.zero_grad()
        functional.cross_entropy(model(x).flatten(0, -2), y.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    torch.set_num_threads(threads)
    return model.eval()
