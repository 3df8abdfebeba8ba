"""Copy the photographs that scikit-image carries, whose contents are known, into a folder."""

import sys
from pathlib import Path

import skimage.data
from PIL import Image

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name, load in (("cat", skimage.data.chelsea), ("coffee", skimage.data.coffee), ("camera_man", skimage.data.camera)):
    Image.fromarray(load()).save(folder / f"{name}.png")
    print(folder / f"{name}.png")
