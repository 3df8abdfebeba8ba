"""Name what is on a photograph: python main.py BUNDLE PHOTO."""

import sys

import numpy as np
from PIL import Image

from edgekit.runtime import Session

bundle, photo = sys.argv[1:3]
with Session.open(bundle) as session:
    frame = np.asarray(Image.open(photo).convert("RGB"))  # uint8 [H,W,3]; your camera gives you the same
    session.preprocess(frame)  # as the bundle says, straight into the input buffer
    timing = session.execute()
    best = session.postprocess()[0][0]
    print(f"{best.name} ({best.probability:.0%}) in {timing.compute_ms:.1f} ms on {session.backend}")
