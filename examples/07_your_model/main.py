"""Name the ground on a photograph, by a bundle of a maker that is trusted: python main.py BUNDLE KEY.pub PHOTO."""

import sys

import numpy as np
from PIL import Image

from edgekit.runtime import Session

bundle, key, photo = sys.argv[1:4]
with Session.open(bundle, trusted_keys=key) as session:  # the key was on the robot before the bundle
    print(session.signed)
    session.preprocess(np.asarray(Image.open(photo).convert("RGB")))
    session.execute()
    best = session.postprocess()[0][0]
    print(f"{best.name} ({best.probability:.0%})")
