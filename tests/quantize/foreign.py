"""Networks that learnt scikit-learn's digits, as onnxruntime's `quantize_static` leaves them at its defaults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from edgekit.configs import ExportConfig
from edgekit.export import export
from edgekit.models.encoder import EncoderClassifier, EncoderConfig

TRAINED_ON, CALIBRATED_ON = 1400, 128


class Cnn(nn.Module):
    """image [N,1,8,8] -> logits [N,10]: a residual sum, a SiLU, a Concat, a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(c, 16, 3, padding=1) for c in (1, 16, 16))
        self.narrow = nn.Conv2d(16, 16, 1)
        self.up = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.last = nn.Conv2d(16, 24, 3, padding=1, stride=2)
        self.head = nn.Linear(24, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(image))
        x = functional.max_pool2d(torch.relu(x + self.third(torch.relu(self.second(x)))), 2)
        x = torch.cat([x, functional.silu(self.narrow(x))], 1)
        x = torch.relu(self.last(torch.relu(self.up(x))))
        return self.head(x.mean((2, 3)))


Inputs = dict[str, torch.Tensor]
ENCODER = EncoderConfig(layers=2, heads=2, input_size=8, hidden_size=32, feedforward_size=64, longest=16)


def pictures(images: torch.Tensor) -> Inputs:
    return {"image": images[:, None]}


def rows(images: torch.Tensor) -> Inputs:
    """A row of pixels a step; all steps are real."""
    return {"x": images, "lengths": torch.full((len(images),), 8)}


def make_cnn() -> tuple[nn.Module, Inputs]:
    torch.manual_seed(0)
    return _trained(Cnn(), pictures)


def make_transformer() -> tuple[nn.Module, Inputs]:
    torch.manual_seed(0)
    return _trained(EncoderClassifier(ENCODER), rows)


def write(folder: Path, make: str) -> None:
    """`float.onnx`, `held_out.npz`, and what onnxruntime makes of it: `qdq.onnx`, `channels.onnx`, `qoperator.onnx`."""
    export(f"{__file__}:{make}", folder / "float.onnx", ExportConfig(opset=20))
    images = torch.from_numpy(_images()[0])
    inputs = pictures if make == "make_cnn" else rows
    seen, unseen = (
        {name: value.numpy() for name, value in inputs(part).items()}
        for part in (images[:CALIBRATED_ON], images[TRAINED_ON:])
    )
    np.savez(folder / "held_out.npz", **unseen)
    for name, options in (("qdq", {}), ("channels", {"per_channel": True})):
        quantize_static(folder / "float.onnx", folder / f"{name}.onnx", Reader(seen), **options)
    if make == "make_cnn":  # onnxruntime fails to write a transformer so
        out = folder / "qoperator.onnx"
        quantize_static(folder / "float.onnx", out, Reader(seen), quant_format=QuantFormat.QOperator)


class Reader(CalibrationDataReader):
    """Eight samples at a time."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        count = len(next(iter(arrays.values())))
        batches = ({name: value[at : at + 8] for name, value in arrays.items()} for at in range(0, count, 8))
        self._batches = iter(list(batches))

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


def _images() -> tuple[np.ndarray, np.ndarray]:
    digits = load_digits()
    return (digits.images / 16).astype(np.float32), digits.target.astype(np.int64)


def _trained(network: nn.Module, inputs: Callable[[torch.Tensor], Inputs]) -> tuple[nn.Module, Inputs]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    images, labels = (torch.from_numpy(array[:TRAINED_ON]) for array in _images())
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(8):
        for some in torch.randperm(TRAINED_ON).split(64):
            optimizer.zero_grad()
            functional.cross_entropy(network(*inputs(images[some]).values()), labels[some]).backward()
            optimizer.step()
    torch.set_num_threads(threads)
    return network.eval(), inputs(images[:2])
