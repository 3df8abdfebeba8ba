"""Peer: nncf's compression of weights to INT4 in blocks of 128, run in its own environment.

python peer_nncf_int4.py MODEL CALIBRATION.npz OUT awq|scale|awq-scale
"""

from __future__ import annotations

import sys

import nncf
import numpy as np
import onnx

if __name__ == "__main__":
    model, data, out, *methods = sys.argv[1:]
    with np.load(data) as archive:
        arrays = {name: archive[name] for name in archive.files}
    count = len(next(iter(arrays.values())))
    samples = [{name: value[row : row + 1] for name, value in arrays.items()} for row in range(count)]
    made = nncf.compress_weights(
        onnx.load(model),
        mode=nncf.CompressWeightsMode.INT4_SYM,
        group_size=128,
        ratio=1.0,
        dataset=nncf.Dataset(samples),
        subset_size=count,
        awq="awq" in methods,
        scale_estimation="scale" in methods,
        # In its favour: the embedding and the last product, of which it would make INT8, stay as they are.
        backup_mode=nncf.BackupMode.NONE,
    )
    onnx.save(made, out)
