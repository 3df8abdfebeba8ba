"""Cut photographs into two sets that share no photograph: calibration/ to find ranges on, held_out/ to judge on.

The calibration set is six colour photographs of scikit-image: people, machines, night sky, tissue, an eye, a workshop.
The held-out set is the three photographs of the demo and the two of scikit-learn. Each gives 16 overlapping squares.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_images

SIDE, GRID = 224, 4
CALIBRATION = ("astronaut.png", "rocket.jpg", "hubble_deep_field.jpg", "ihc.png", "retina.jpg", "motorcycle_left.png")
HELD_OUT = ("chelsea.png", "coffee.png", "camera.png")


def photographs(names: tuple[str, ...]) -> dict[str, Image.Image]:
    folder = Path(skimage.data.__file__).parent
    return {Path(name).stem: Image.open(folder / name).convert("RGB") for name in names}


def squares(photograph: Image.Image) -> Iterator[Image.Image]:
    width, height = photograph.size
    for top in np.linspace(0, height - SIDE, GRID, dtype=int).tolist():
        for left in np.linspace(0, width - SIDE, GRID, dtype=int).tolist():
            yield photograph.crop((left, top, left + SIDE, top + SIDE))


def write(folder: Path, found: dict[str, Image.Image]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, photograph in found.items():
        for number, square in enumerate(squares(photograph)):
            square.save(folder / f"{name}_{number:02}.png")
    print(f"{folder}: {len(found) * GRID**2} pictures of {len(found)} photographs")


if __name__ == "__main__":
    root = Path(sys.argv[1])
    china, flower = (Image.fromarray(image) for image in load_sample_images().images)
    write(root / "calibration", photographs(CALIBRATION))
    write(root / "held_out", photographs(HELD_OUT) | {"china": china, "flower": flower})
