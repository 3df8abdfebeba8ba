"""Peer: nvidia-modelopt's ONNX quantizer, run in its own environment.

python peer_modelopt.py MODEL CALIBRATION.npz OUT max|entropy|awq_clip|awq_lite|rtn_dq
"""

from __future__ import annotations

import sys

import numpy as np

# The types of TensorRT that mypy reads look like a TensorRT without a Logger: modelopt shall find none.
sys.modules["tensorrt"] = None  # type: ignore[assignment]

from modelopt.onnx.quantization import quantize  # noqa: E402

if __name__ == "__main__":
    model, data, out, method = sys.argv[1:]
    with np.load(data) as archive:
        samples = {name: archive[name] for name in archive.files}
    four_bits = method in ("awq_clip", "awq_lite", "rtn_dq")
    quantize(
        model,
        quantize_mode="int4" if four_bits else "int8",
        calibration_data=samples,
        calibration_method=method,
        calibration_eps=["cpu"],
        output_path=out,
        # All tools are compared with everything else in FP32.
        high_precision_dtype="fp32",
        block_size=128 if four_bits else None,
        log_level="ERROR",
    )
