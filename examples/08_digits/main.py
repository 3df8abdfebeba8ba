"""Read digits: python main.py BUNDLE DIGITS.npz."""

import sys

import numpy as np

from edgekit.runtime import Session

bundle, digits = sys.argv[1:3]
with Session.open(bundle) as session, np.load(digits) as archive:
    for rows in archive["rows"]:  # float32 [8,8]: eight steps of eight values
        session.input("rows")[0] = rows
        session.execute()
        best = session.postprocess()[0][0]
        print(f"{best.name} ({best.probability:.0%})")
