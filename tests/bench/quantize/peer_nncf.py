"""Peer: nncf's post-training quantization of ONNX models, run in its own environment.

python peer_nncf.py MODEL CALIBRATION.npz OUT cnn|transformer default|minmax|histogram fast|accurate|none all|layers
"""

from __future__ import annotations

import sys

import nncf
import numpy as np
import onnx
from nncf.common.hardware import qspaces
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix, QuantizationParameters
from nncf.quantization.range_estimator import RangeEstimatorParameters, RangeEstimatorParametersSet

LAYERS = {"Conv", "Gemm", "MatMul"}
RANGES = {
    "default": RangeEstimatorParameters(),
    "minmax": RangeEstimatorParametersSet.MINMAX,
    "histogram": RangeEstimatorParametersSet.HISTOGRAM,
}


def force_signed() -> None:
    """TensorRT takes int8 alone; nncf makes uint8 of what follows a ReLU, and no option of any of its devices asks."""
    for space in (qspaces.q8_a, qspaces.q8_a_sym, qspaces.q8_a_ch):
        object.__setattr__(space, "signedness_to_force", True)


if __name__ == "__main__":
    model, data, out, kind, ranges, correction, where = sys.argv[1:]
    with np.load(data) as archive:
        arrays = {name: archive[name] for name in archive.files}
    count = len(next(iter(arrays.values())))
    samples = [{name: value[row : row + 1] for name, value in arrays.items()} for row in range(count)]
    force_signed()
    network = onnx.load(model)
    others = sorted({node.op_type for node in network.graph.node} - LAYERS) if where == "layers" else []
    made = nncf.quantize(
        network,
        nncf.Dataset(samples),
        preset=nncf.QuantizationPreset.PERFORMANCE,  # symmetric
        subset_size=count,
        fast_bias_correction=correction != "accurate",
        model_type=nncf.ModelType.TRANSFORMER if kind == "transformer" else None,
        # NVIDIA's placement, on the inputs of layers alone; its own also quantizes Adds, Gathers, means and more.
        ignored_scope=nncf.IgnoredScope(types=others),
        advanced_parameters=AdvancedQuantizationParameters(
            overflow_fix=OverflowFix.DISABLE,  # it halves ranges for an old instruction of x86
            # One scale an activation: left alone, it gives depthwise convolutions one a channel.
            activations_quantization_params=QuantizationParameters(per_channel=False),
            activations_range_estimator_params=RANGES[ranges],
            disable_bias_correction=correction == "none",
        ),
    )
    onnx.save(made, out)
