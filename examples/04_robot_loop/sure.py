"""Print what main.py can believe, for its constants: python sure.py GROUND_BUNDLE FOLDER

FOLDER/<label> has pictures of your camera that the network did not learn from. Of each label the probability that 24 in
25 of its right answers reach; of all pictures the contrast and grain that 98 in 100 have, rounded outwards.
"""

import math
import sys
from pathlib import Path

import numpy as np
from main import texture
from PIL import Image

from edgekit.runtime import Session

sure, textures = {}, []
with Session.open(sys.argv[1]) as session:
    (name,) = session.inputs
    for folder in sorted(path for path in Path(sys.argv[2]).iterdir() if path.is_dir()):
        right = []
        for file in sorted(folder.iterdir()):
            session.preprocess(np.asarray(Image.open(file).convert("RGB")), 0)
            session.execute()
            best = session.postprocess(1)[0][0]
            textures.append(texture(session.input(name)[0]))
            right += [best.probability] if best.name == folder.name else []
        sure[folder.name] = math.floor(np.percentile(right, 4) * 100) / 100
ranges = [
    (math.floor(np.percentile(values, 1) * 10) / 10, math.ceil(np.percentile(values, 99) * 10) / 10)
    for values in zip(*textures, strict=True)
]
print("SURE =", sure)
print("CONTRAST, GRAIN =", ", ".join(map(str, ranges)))
