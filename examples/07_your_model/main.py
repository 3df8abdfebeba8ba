"""Name the ground on a photograph, by a bundle of a maker that is trusted: python main.py BUNDLE KEY.pub PHOTO."""

import sys

import numpy as np
from PIL import Image

from edgekit.errors import EdgekitError
from edgekit.runtime import Session


def main(bundle: str, key: str, photo: str) -> None:
    """Opens nobody else's bundle."""
    with Session.open(bundle, trusted_keys=key) as session:  # the key was on the robot before the bundle
        print(session.signed)
        session.preprocess(np.asarray(Image.open(photo).convert("RGB")))
        session.execute()
        best = session.postprocess()[0][0]
        print(f"{best.name} ({best.probability:.0%})")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (EdgekitError, OSError) as error:
        sys.exit(f"edgekit: error: {error}")
