"""Train the network of model.py on folders of photographs, on one thread: python train.py PHOTOS WEIGHTS.pt."""

import sys
from pathlib import Path

import numpy as np
import torch
from model import CLASSES, GroundNet
from PIL import Image

EPOCHS, BATCH, RATE = 12, 64, 3e-3
MEAN, STD = 119.0, 36.0  # of the grey values; recipe.toml has the same


def read(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The pictures of folder/<class> as float32 [N,1,32,32], and the numbers of their classes as int64 [N]."""
    files = [(file, label) for label, name in enumerate(CLASSES) for file in sorted((folder / name).glob("*.png"))]
    pixels = np.stack([np.asarray(Image.open(file), np.float32) for file, _ in files])
    return (torch.from_numpy(pixels)[:, None] - MEAN) / STD, torch.tensor([label for _, label in files])


def turned(images: torch.Tensor) -> torch.Tensor:
    """A batch upside down, mirrored, both or as it is: no ground has an upper side."""
    return images.flip([axis for axis in (2, 3) if torch.rand(()) < 0.5])


def trained(images: torch.Tensor, labels: torch.Tensor) -> GroundNet:
    torch.manual_seed(0)
    net = GroundNet()
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(turned(images[batch]))["logits"], labels[batch]).backward()
            optimizer.step()
    return net.eval()


if __name__ == "__main__":
    photos, weights = map(Path, sys.argv[1:3])
    torch.set_num_threads(1)
    net = trained(*read(photos / "train"))
    images, labels = read(photos / "held_out")
    with torch.no_grad():
        right = int((net(images)["logits"].argmax(1) == labels).sum())
    torch.save(net.state_dict(), weights)
    print(f"{weights}: {right} of {len(labels)} held-out squares right")
