"""A GRU that reads a handwritten digit row by row, as a robot reads a line of sensors step by step.

`make_model` trains it in seconds on scikit-learn's digits (Alpaydin & Kaynak: 8x8 pixels, 43 writers) on one thread.
`python digits.py FOLDER` writes what the deployment needs: calibration.npz from the images that it trains on,
held_out.npz, labels.npy and five.npz from those that it never sees.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

TRAINED_ON = 1347  # three quarters of 1797
EPOCHS, BATCH, RATE = 40, 128, 1e-2


class DigitReader(torch.nn.Module):
    """rows float32 [N,T,8] in 0..1, one row of pixels a step -> logits [N,10]."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = torch.nn.GRU(8, 64, batch_first=True)
        self.head = torch.nn.Linear(64, 10)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        _, last = self.gru(rows)
        return self.head(last[-1])


def images() -> tuple[np.ndarray, np.ndarray]:
    """All images as float32 [1797,8,8] in 0..1 and their digits, shuffled once and for all."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    return digits.images[order].astype(np.float32) / 16, digits.target[order].astype(np.int64)


def make_model() -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """What `edgekit deploy examples/08_digits/digits.py:make_model` calls: the trained reader and example inputs."""
    return trained(EPOCHS)


def make_untrained() -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """The same reader before it has learnt anything: what a validation must not take for the original."""
    return trained(0)


def trained(epochs: int) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pixels, digits = (torch.from_numpy(array[:TRAINED_ON]) for array in images())
    reader = DigitReader()
    optimizer = torch.optim.Adam(reader.parameters(), RATE)
    for _ in range(epochs):
        for rows in torch.randperm(TRAINED_ON).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(reader(pixels[rows]), digits[rows]).backward()
            optimizer.step()
    torch.set_num_threads(threads)
    return reader, {"rows": pixels[:2]}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    pixels, digits = images()
    np.savez(folder / "calibration.npz", rows=pixels[:256])
    np.savez(folder / "held_out.npz", rows=pixels[TRAINED_ON:])
    np.save(folder / "labels.npy", digits[TRAINED_ON:])
    np.savez(folder / "five.npz", rows=pixels[TRAINED_ON:][:5])
    first = ", ".join(map(str, digits[TRAINED_ON:][:5]))
    print(f"{folder}: {len(digits) - TRAINED_ON} held-out digits; the five of five.npz are {first}")
