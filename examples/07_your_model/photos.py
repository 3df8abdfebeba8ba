"""Cut photographs of a brick wall, grass and gravel into squares: python photos.py FOLDER.

The photographs are scikit-image's: 512x512 pixels, grey, CC0. FOLDER/train/<class> comes from the upper part of each,
FOLDER/held_out/<class> from the lower part. No two squares share a pixel.
"""

import sys
from pathlib import Path

import skimage.data
from model import CLASSES, SIDE
from PIL import Image

BORDER = 320  # rows from here on are held out


def cut(photograph: Image.Image, rows: range, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for top in rows:
        for left in range(0, photograph.width, SIDE):
            photograph.crop((left, top, left + SIDE, top + SIDE)).save(folder / f"{top:03}_{left:03}.png")


if __name__ == "__main__":
    root = Path(sys.argv[1])
    for name in CLASSES:
        photograph = Image.fromarray(getattr(skimage.data, name)())
        cut(photograph, range(0, BORDER, SIDE), root / "train" / name)
        cut(photograph, range(BORDER, photograph.height, SIDE), root / "held_out" / name)
    for part in ("train", "held_out"):
        print(f"{root / part}: {len(list((root / part).rglob('*.png')))} squares of {SIDE}x{SIDE} pixels")
